"""The door: kopf's decorators and the HTTP endpoints. They hand over and decide nothing."""
