"""Stand-ins at the operator's Protocols: an API server, a LiveKit server, agent pods and a clock, all in memory."""
