"""An agent without providers, whose code stories hand to a pool."""

from pathlib import Path

AGENT = Path(__file__).with_name("agent.py")
# To be found as `openai.py` beside an agent's code.
NO_PROVIDER = Path(__file__).with_name("no_provider.py")
