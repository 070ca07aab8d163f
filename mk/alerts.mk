.PHONY: test-alerts
test-alerts: deps ## The alert rules in the real promtool, the dashboard's queries in a real Prometheus, messages in a real Alertmanager (built once: 5 to 15 minutes, hence not part of `make test`).
	@test/alerts/build
	vitest run --project alerts
