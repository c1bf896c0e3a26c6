"""What is said is to be done about a pod that does not start."""

import pytest

from livekit_operator.manifests.pod_remedies import waiting_remedy


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
