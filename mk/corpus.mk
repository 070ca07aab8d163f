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

.PHONY: score
score: deps ## How good is the diagnosis on the recorded packs? Confusion matrix, culprits, calibration.
	node test/corpus/scorecard.ts $(SCORE_ARGS)

.PHONY: calibration
calibration: deps ## Write docs/calibration.md from the recorded packs.
	node test/corpus/scorecard.ts --document >docs/calibration.md
