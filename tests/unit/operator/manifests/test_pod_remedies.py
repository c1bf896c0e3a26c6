"""What is said is to be done about a pod that does not start."""

import pytest

from livekit_operator.manifests.pod_remedies import remedy, waiting_remedy


@pytest.mark.parametrize(
    ("reason", "image", "told"),
    [
        ("CrashLoopBackOff", "spec.image", "See `kubectl logs --previous voice-0`."),
        ("ImagePullBackOff", "spec.image", "Check spec.image and spec.podTemplate.imagePullSecrets."),
        ("ImagePullBackOff", None, "See `kubectl describe pod voice-0`."),
        ("CreateContainerConfigError", "spec.image", "See `kubectl describe pod voice-0`."),
    ],
)
def test_it_is_by_the_kubelets_reason(reason: str, image: str | None, told: str) -> None:
    assert waiting_remedy("voice-0", reason, image) == told


def test_the_log_of_another_container_is_named() -> None:
    assert (
        waiting_remedy("voice-0", "CrashLoopBackOff", None, "proxy")
        == "See `kubectl logs --previous voice-0 -c proxy`."
    )
    assert waiting_remedy("voice-0", "CreateContainerError", None, "proxy") == "See `kubectl describe pod voice-0`."


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ('CreateContainerConfigError: secret "booking-keys" not found', True),
        ('CreateContainerConfigError: configmap "settings" not found', True),
        ("CreateContainerConfigError: couldn't find key openai in Secret team/booking-keys", True),
        ('FailedMount: MountVolume.SetUp failed for volume "models" : secret "models" not found', True),
        ('FailedMount: MountVolume.SetUp failed for volume "m" : references non-existent secret key: a.pem', True),
        ('Unschedulable: 0/2 nodes are available: persistentvolumeclaim "models" not found. preemption: 0/2', True),
        ("Unschedulable: 0/2 nodes are available: 2 Insufficient cpu.", False),
        ("CreateContainerConfigError: container has runAsNonRoot and image will run as root", False),
        ('FailedCreatePodSandBox: network "mesh" not found', False),
    ],
)
def test_what_is_missing_is_to_be_made(words: str, missing: bool) -> None:
    told = remedy(words, "Otherwise.")
    assert told == ("Create it, or name another one in the spec." if missing else "Otherwise.")
