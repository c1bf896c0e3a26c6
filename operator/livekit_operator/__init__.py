"""A Kubernetes operator for self-hosted LiveKit voice-agent platforms."""

__version__ = "0.1.0"
