"""The operator's HTTP endpoints: metrics, readiness and webhooks. They hand over and decide nothing."""
