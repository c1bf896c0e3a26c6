"""How an agent worker is run in a pod, whatever the agent: hard cap, readiness, status, one drain.

The stock agent imports this package; `python -m voice_agent.runner.install` copies it beside any other agent.
So it knows neither the stock agent nor anything beyond the standard library, livekit-agents and what that brings
along, imports itself relatively, and stays within Python 3.9.
"""
