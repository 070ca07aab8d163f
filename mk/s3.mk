.PHONY: s3-build
s3-build: ## Build the S3 server that the integration tests talk to (once; a minute).
	@test/s3/build
