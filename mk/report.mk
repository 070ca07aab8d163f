##@ Report

CHROMIUM ?= $(or $(OOMSCOPE_CHROMIUM),$(shell command -v chromium || command -v chromium-browser || command -v google-chrome))

.PHONY: chromium
chromium: ## Install the browser that test-report needs, where there is none (Debian, root; 350 MB).
	@[ -n "$(CHROMIUM)" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; } || { echo "Chromium is missing: install it, or name it with OOMSCOPE_CHROMIUM"; exit 1; }
	@[ -n "$(CHROMIUM)" ] || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; }

.PHONY: test-report
test-report: deps chromium ## The HTML report in a real Chromium: no network, no script, dark, print, keyboard, axe.
	OOMSCOPE_CHROMIUM="$${OOMSCOPE_CHROMIUM:-$$(command -v chromium || command -v chromium-browser || command -v google-chrome)}" vitest run --project browser
