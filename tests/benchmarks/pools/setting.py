"""What the parts about pools set up and wait for before they measure."""

from collections.abc import Sequence
from typing import Any

from tests.benchmarks.calls import warm_caller
from tests.harness.agents import AGENT, status_of
from tests.harness.kubectl import Kubectl, Manifest, is_ready, until
from tests.harness.resources import POOL, SERVER, quickstart, room

Secrets = list[dict[str, str]]

CALLER = "alice"


async def set_up(kubectl: Kubectl, rooms: int, **spec: Any) -> Secrets:
    """Apply a server, the quickstart's pool changed at will, and rooms; return the callers' Secrets when all is ready.

    The server is on node ports that the cluster chooses: it runs beside others.
    """
    server, pool, _ = quickstart()
    server["spec"] = {"media": {"exposure": "NodePort"}, "drainTimeoutSeconds": 1}
    pool["spec"] |= spec
    names = [f"call-{number}" for number in range(rooms)]
    await kubectl.apply(server, pool, *(room(name, CALLER, pool=POOL) for name in names))
    for kind, wanted in (("livekitserver", [SERVER]), ("voiceagentpool", [POOL]), ("meetingroom", names)):
        await _ready(kubectl, kind, wanted)
    await warm_caller(kubectl)
    return [await kubectl.secret(f"{name}-{CALLER}") for name in names]


async def _ready(kubectl: Kubectl, kind: str, names: Sequence[str]) -> None:
    async def all_ready() -> bool:
        found = {manifest["metadata"]["name"]: manifest for manifest in await kubectl.find(kind)}
        return all(name in found and is_ready(found[name]) for name in names)

    await until(f"{kind} {', '.join(names)} to be ready", all_ready, seconds=120)


async def warm_pods(kubectl: Kubectl, count: int, processes: int) -> list[Manifest]:
    """Wait until there are just so many pods, all without calls and with as many warm processes; return them."""

    async def look() -> list[Manifest]:
        pods = await kubectl.find("pods", AGENT)
        if len(pods) != count or not all(_pod_is_ready(pod) for pod in pods):
            return []
        told = [await status_of(kubectl, pod) for pod in pods]
        warm = all(each["activeSessions"] == 0 and each["warmProcesses"] == processes for each in told)
        return pods if warm else []

    async def settled() -> list[Manifest]:
        # No pod is a list like no answer: one of them must be told from the other.
        return [{}] if count == 0 and not await kubectl.find("pods", AGENT) else await look()

    found: list[Manifest] = await until(f"{count} pods with {processes} warm processes", settled, seconds=180)
    return found


def _pod_is_ready(pod: Manifest) -> bool:
    conditions = pod["status"].get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


async def room_is_empty(kubectl: Kubectl, name: str) -> None:
    """Wait until neither callers nor agents are in a room."""

    async def empty() -> bool:
        status = (await kubectl.get("meetingroom", name)).get("status") or {}
        return status.get("participants") == 0 and status.get("agentsJoined") == 0

    await until(f"room {name} to be empty", empty)
