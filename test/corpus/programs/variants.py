"""Python in other ways: large objects that are kept, cycles that nobody collects, memory that native code forgets, and batches that come and go."""
import ctypes
import gc
import os
import sys
import time

mode = sys.argv[1]
options = dict(word.split("=") for word in sys.argv[2:])
rate = int(options.get("rate", 1000))
TICK = 0.1

if mode == "bytes":
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1024)) * int(rate * TICK))
        time.sleep(TICK)
elif mode == "cycles":

    class Node:
        def __init__(self):
            self.me = self
            self.words = [str(i) for i in range(40)]

    gc.disable()
    while True:
        for _ in range(int(rate * TICK / 3)):
            Node()
        time.sleep(TICK)
elif mode == "native":
    malloc = ctypes.CDLL(None).malloc
    malloc.restype = ctypes.c_void_p
    while True:
        for _ in range(int(rate * TICK / 16)):
            ctypes.memset(malloc(ctypes.c_size_t(16 * 1024)), 7, 16 * 1024)
        time.sleep(TICK)
elif mode == "batches":
    while True:
        rows = []
        for step in range(40):
            rows.extend({"row": step * 1000 + i, "text": f"value {i}"} for i in range(rate))
            time.sleep(TICK)
        del rows
        time.sleep(1)
else:
    sys.exit(f"variants.py: unknown mode {mode}")
