.PHONY: test-helm
test-helm: deps cluster-build-apiserver ## The chart in the real helm and on a real API server (helm is built once: 2 to 5 minutes, hence not part of `make test`).
	@test/helm/build
	vitest run --project helm
