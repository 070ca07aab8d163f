"""A Python worker: a list that only grows, or workers whose counting of references copies what they share with their parent."""
import os
import sys
import time

mode = sys.argv[1]
options = dict(word.split("=") for word in sys.argv[2:])
rate = int(options.get("rate", 4000))

if mode == "list":
    seen = []
    while True:
        seen.extend({"id": i, "name": f"entry {i}"} for i in range(rate // 20))
        time.sleep(0.05)
elif mode == "prefork":
    table = [f"entry number {i} of the table" for i in range(int(options.get("entries", 400_000)))]
    for _ in range(int(options.get("workers", 3))):
        if os.fork() == 0:
            for start in range(0, len(table), rate // 10):
                held = table[start : start + rate // 10]
                time.sleep(0.1)
            while True:
                time.sleep(1)
    while True:
        time.sleep(1)
else:
    sys.exit(f"worker.py: unknown mode {mode}")
