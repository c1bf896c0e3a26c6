"""What to do about a pod that does not start, by what the scheduler or the kubelet says of it."""

# Reasons of the kubelet for an image that it does not get (pkg/kubelet/images/types.go).
NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
UNSCHEDULABLE = (
    "Make room on the nodes, or change spec.resources, or nodeSelector, tolerations and affinity of spec.podTemplate."
)


def waiting_remedy(pod: str, reason: str, image: str | None) -> str:
    """Return what to do about a container that waits; `image` are the fields of its image, None for another's."""
    if reason == "CrashLoopBackOff":
        return f"See `kubectl logs --previous {pod}`."
    if reason in NO_IMAGE and image:
        return f"Check {image} and spec.podTemplate.imagePullSecrets."
    return look_at(pod)


def look_at(pod: str) -> str:
    """Return where everything is said of a pod."""
    return f"See `kubectl describe pod {pod}`."
