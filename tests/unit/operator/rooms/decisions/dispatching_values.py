"""Values that tests of dispatching share."""

from livekit_operator.views import DispatchView, JobView

NAME = "front-desk"


def asked(id: str, age: float, *jobs: str, name: str = NAME, deployment: str = "") -> DispatchView:  # noqa: A002  # LiveKit's word
    """Return a dispatch; each of its jobs sends the agent of its number."""
    return DispatchView(id, name, age, deployment, tuple(JobView(job, f"agent-{job[-1]}") for job in jobs))
