"""How an agent worker is run in a pod, whatever the agent: hard cap, readiness, status, drain, logs.

Nothing here knows the stock agent, so that an agent of one's own can be run the same way.
"""
