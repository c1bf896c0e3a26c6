"""What is read of pods to tell what a story costs."""

import pytest

from tests.harness.usage import Meter, kind


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        ("voice-livekit-x7k2p", "servers"),
        ("voice-redis-5d9f8b7c6d-abcde", "redis"),
        ("redis-0", "redis"),
        ("desk-3f2a1b-q9w8e", "agents"),
    ],
)
def test_a_pod_is_known_by_its_name(pod: str, told: str) -> None:
    assert kind(pod) == told


def test_a_storys_pods_are_those_of_all_its_namespaces() -> None:
    meter = Meter()
    meter.pods = {
        ("story-1", "voice-livekit-a"): 1.0,
        ("story-1-other", "voice-livekit-b"): 2.0,
        ("story-1", "desk-1"): 4.0,
        ("story-2", "desk-1"): 8.0,
    }
    assert meter.of("story-1", since={}) == {"servers": 3.0, "agents": 4.0}
    before = {("story-1", "voice-livekit-a"): 0.5, ("story-2", "desk-1"): 1.0}
    assert meter.of("story-1", since=before) == {"servers": 2.5, "agents": 4.0}
