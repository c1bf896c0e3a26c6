"""The operator's own pod: finding it, killing it, and reading what it counts."""

import aiohttp

from tests.harness.kubectl import Kubectl, Manifest, until
from tests.harness.processes import sigkill

OPERATOR = "app.kubernetes.io/name=livekit-operator"
HTTP_PORT = 8080


async def running_pod(kubectl: Kubectl) -> Manifest:
    """Wait until the operator has one pod, which is ready, and return it; `kubectl` is bound to its namespace."""

    async def look() -> Manifest:
        pods = await _pods(kubectl)
        return pods[0] if len(pods) == 1 and _is_ready(pods[0]) else {}

    pod: Manifest = await until("the operator to be ready", look, seconds=60)
    return pod


async def kill(kubectl: Kubectl) -> None:
    """Kill the operator with SIGKILL, whatever it is doing; another pod of it comes."""
    (pod,) = await _pods(kubectl)
    await sigkill(kubectl, pod)
    # Another pod, because the kubelet makes a container that ends so often wait longer each time.
    await kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")


def address(pod: Manifest) -> str:
    """Return where the operator's HTTP endpoints are, for this machine alone."""
    return f"http://{pod['status']['podIP']}:{HTTP_PORT}"


async def count(session: aiohttp.ClientSession, pod: Manifest, sample: str) -> float:
    """Return the value of a sample, named with its labels as Prometheus writes them; 0 while there is none."""
    async with session.get(f"{address(pod)}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{sample} ")), 0.0)


def _is_ready(pod: Manifest) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def _pods(kubectl: Kubectl) -> list[Manifest]:
    return [pod for pod in await kubectl.find("pods", OPERATOR) if "deletionTimestamp" not in pod["metadata"]]
