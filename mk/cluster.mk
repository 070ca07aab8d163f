##@ Cluster

# Two kinds of test cluster: a real node without Docker (cluster-*, Debian, root), and kind (kind-*, where Docker is at hand).
KIND_NAME ?= oomscope
KIND_IMAGES ?= localhost/oomscope/operator:dev localhost/oomscope/collector:dev

# need_kind: says what is missing, and what to use instead.
define need_kind
for tool in docker kind; do \
  command -v $$tool >/dev/null || { echo "$$tool is missing: install it (https://kind.sigs.k8s.io), or use 'make cluster-up', which needs neither."; exit 1; }; \
done; \
docker info >/dev/null 2>&1 || { echo "docker does not answer: start its daemon, or use 'make cluster-up', which needs none."; exit 1; }
endef

.PHONY: cluster-build
cluster-build: ## Build the cluster's binaries into the cache (once; minutes).
	@test/cluster/build

.PHONY: cluster-build-apiserver
cluster-build-apiserver: ## Build only what the integration tests need: etcd, kube-apiserver, kubectl.
	@test/cluster/build etcd kube-apiserver kubectl

.PHONY: cluster-up
cluster-up: ## Start a real node on this machine: no Docker, root needed.
	@test/cluster/up

.PHONY: cluster-down
cluster-down: ## Take it away and leave the machine as it was found.
	@test/cluster/down

.PHONY: cluster-status
cluster-status: ## Say what of it runs.
	@test/cluster/status

.PHONY: kind-up
kind-up: ## Start a kind cluster instead (needs docker and kind).
	@$(need_kind); \
	if kind get clusters 2>/dev/null | grep -qx "$(KIND_NAME)"; then echo "kind cluster $(KIND_NAME) runs already"; \
	else kind create cluster --name "$(KIND_NAME)" --config config/kind.yaml --wait 120s; fi

.PHONY: kind-load
kind-load: stage ## Build the images with docker and load them into kind.
	@$(need_kind); \
	for target in operator collector; do docker build --target $$target -t localhost/oomscope/$$target:dev .; done; \
	kind load docker-image --name "$(KIND_NAME)" $(KIND_IMAGES)

.PHONY: kind-down
kind-down: ## Delete the kind cluster.
	@$(need_kind); kind delete cluster --name "$(KIND_NAME)"
