"""What keeps a namespace: everything that is left in it, and what each of it says about why."""

from collections.abc import Iterator
from typing import Any

from tests.harness.kubectl import CommandError, Kubectl, Manifest

OWN_KINDS = "meetingrooms,voiceagentpools,livekitservers"
_LAST_LINES = 15


async def leftovers(kubectl: Kubectl) -> str:
    """Return a few lines about each object that is left: finalizers, conditions, and what its pods last said."""
    lines = [f"What is left of {kubectl.namespace}:"]
    for kinds in ("namespaces", "nodes", OWN_KINDS, "pods"):
        try:
            found = await kubectl.find(kinds)
        except CommandError as error:
            lines.append(f"{kinds}: {error}")
            continue
        for manifest in found:
            if kinds != "namespaces" or manifest["metadata"]["name"] == kubectl.namespace:
                lines += describe(manifest)
            if manifest["kind"] == "Pod":
                lines += await _log(kubectl, manifest["metadata"]["name"])
    return "\n".join(lines)


def describe(manifest: Manifest) -> Iterator[str]:
    """Yield the lines about one object: since when it is leaving, who holds it, where it runs, and its conditions."""
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    status = manifest.get("status") or {}
    facts = {
        "leaving since": metadata.get("deletionTimestamp"),
        "grace": metadata.get("deletionGracePeriodSeconds"),
        "finalizers": metadata.get("finalizers") or spec.get("finalizers"),
        "node": spec.get("nodeName"),
        "phase": status.get("phase"),
    }
    told = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
    yield f"{manifest['kind']} {metadata['name']}: {told}"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        yield f"  container {container['name']}, {container['restartCount']} restarts: {container['state']}"
    for condition in status.get("conditions") or ():
        yield f"  {_condition(condition)}"


def _condition(condition: dict[str, Any]) -> str:
    words = f"{condition['type']} {condition['status']} {condition.get('reason', '')}: {condition.get('message', '')}"
    return words.rstrip(": ")


async def _log(kubectl: Kubectl, pod: str) -> list[str]:
    try:
        text = await kubectl("logs", pod, "--all-containers", "--tail", str(_LAST_LINES))
    except CommandError as error:
        text = str(error)
    return [f"  | {line}" for line in text.splitlines()[-_LAST_LINES:]]
