"""`python -m livekit_operator`: the operator as a process."""

import os

import kopf

from livekit_operator import handlers, logs
from livekit_operator.handlers import operator
from livekit_operator.settings import load_settings


def main() -> None:
    """Run until told to stop; raises pydantic.ValidationError when a setting is wrong."""
    logs.configure(os.environ.get("LIVEKIT_OPERATOR_LOG_LEVEL", "info"))
    # kopf names its identity after the user, and a container's uid has no name.
    os.environ.setdefault("LOGNAME", "livekit-operator")
    settings = load_settings()
    kopf.run(
        clusterwide=True,
        standalone=True,  # one replica, replaced and not doubled by its Deployment: there is no peer to yield to
        liveness_endpoint=f"http://0.0.0.0:{settings.liveness_port}/healthz",
        memo=kopf.Memo(),
    )


__all__ = ["handlers", "main", "operator"]

if __name__ == "__main__":
    main()
