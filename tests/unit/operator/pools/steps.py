"""What tests of a pool look at."""

from typing import Any


def names(pods: list[dict[str, Any]]) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods]
