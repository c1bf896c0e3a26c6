"""An agent without providers, whose code stories hand to a pool."""

from pathlib import Path

AGENT = Path(__file__).with_name("agent.py")
