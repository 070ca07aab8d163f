##@ World

# make world SEEDS=100000 FROM=1 ENUMERATE=no
SEEDS ?= 1000
FROM ?= 1
ENUMERATE ?= yes

.PHONY: world
world: deps ## The operator in the deterministic world: every fault at every call, then many seeds: make world SEEDS=100000.
	SEEDS=$(SEEDS) FROM=$(FROM) ENUMERATE=$(ENUMERATE) node test/world/explore.ts
