"""What to do about a pod that does not start, by what the scheduler or the kubelet says of it."""

import re

# Reasons of the kubelet for an image that it does not get (pkg/kubelet/images/types.go).
NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
UNSCHEDULABLE = (
    "Make room on the nodes, or change spec.resources, or nodeSelector, tolerations and affinity of spec.podTemplate."
)


# Words of the kubelet and the scheduler for what a volume or a variable refers to (pkg/kubelet/kubelet_pods.go
# makeEnvironmentVariables, pkg/volume, pkg/scheduler/framework/plugins/volumebinding).
_MISSING = re.compile(
    r"(?:secret|configmap|persistentvolumeclaim)s? \S+ not found|couldn't find key|non-existent (?:secret|config) key",
    re.IGNORECASE,
)


def remedy(words: str, otherwise: str) -> str:
    """Return what to do about a pod that does not start, by what the cluster says of it: something may be missing."""
    return "Create it, or name another one in the spec." if _MISSING.search(words) else otherwise


def waiting_remedy(pod: str, reason: str, image: str | None, container: str | None = None) -> str:
    """Return what to do about a container that waits; `image` are the fields of its image, None for another's."""
    if reason == "CrashLoopBackOff":
        return f"See `kubectl logs --previous {pod}{f' -c {container}' if container else ''}`."
    if reason in NO_IMAGE and image:
        return f"Check {image} and spec.podTemplate.imagePullSecrets."
    return look_at(pod)


def look_at(pod: str) -> str:
    """Return where everything is said of a pod."""
    return f"See `kubectl describe pod {pod}`."
