"""The process: kopf's decorators, and the runtime that wires everything to everything."""
