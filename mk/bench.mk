##@ Bench

# make bench PODS=50000 BENCH_ARGS="--rate=300 --candidates=ours,client-go"
PODS ?= 10000
CHANGES ?= 20000
BENCH_ARGS ?=

.PHONY: bench
bench: deps cluster-build-apiserver ## Memory and CPU of our reflector beside client-node's and client-go's: make bench PODS=50000.
	@command -v $${GO:-go} >/dev/null || { echo "go is missing: the bench compares with client-go; install Go 1.26 or newer, or name it in GO"; exit 1; }
	node bench/reflector.ts --pods=$(PODS) --changes=$(CHANGES) $(BENCH_ARGS)

# make bench-collector COLLECTOR_ARGS="--parts=stages --pairs=1 --long-pairs=1"
COLLECTOR_ARGS ?=

.PHONY: bench-collector
bench-collector: build ## What the collector costs its target and itself, beside smem, pmap and cat (root; 12 minutes).
	@command -v gcc >/dev/null || { echo "gcc is missing: the bench builds the service that is measured; on Debian apt-get install gcc libc6-dev"; exit 1; }
	node bench/collector.ts $(COLLECTOR_ARGS)

# make bench-analyze ANALYZE_ARGS="--samples=4320 --processes=40"
ANALYZE_ARGS ?=

.PHONY: bench-analyze
bench-analyze: build ## Memory and time of a finding on an hour of 200 processes; fails over 200 MB (half a minute).
	node bench/analyze.ts $(ANALYZE_ARGS)
