"""An agent for Node.js as a user writes one, and releases of @livekit/agents, with which the runner is tried too."""
