"""What is in a namespace and what each of it says: why something failed there, or what keeps it."""

import json
from collections.abc import Iterator
from typing import Any

from tests.harness.kubectl import CommandError, Kubectl, Manifest

OWN_KINDS = "meetingrooms,voiceagentpools,livekitservers"
_LAST_LINES = 15


async def contents(kubectl: Kubectl, *, last_lines: int = _LAST_LINES) -> str:
    """Return a few lines about each object: finalizers, status, conditions, and what its pods last said."""
    lines = [f"What is in {kubectl.namespace}:"]
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
                words = (manifest["metadata"]["name"], "--all-containers")
                lines += await lines_of(kubectl, *words, last_lines=last_lines)
    return "\n".join(lines)


def describe(manifest: Manifest) -> Iterator[str]:
    """Yield the lines about one object: since when it is leaving, who holds it, where it runs, and its status."""
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
    if str(manifest.get("apiVersion", "")).startswith("livekit-operator.dev/"):
        yield f"  {json.dumps({name: value for name, value in status.items() if name != 'conditions'})}"


def _condition(condition: dict[str, Any]) -> str:
    words = f"{condition['type']} {condition['status']} {condition.get('reason', '')}: {condition.get('message', '')}"
    return words.rstrip(": ")


async def lines_of(kubectl: Kubectl, *words: str, containing: str = "", last_lines: int = _LAST_LINES) -> list[str]:
    """Return the last log lines of what the words name, of those that contain a text."""
    try:
        # Where lines are chosen, they are chosen from all.
        text = await kubectl("logs", *words, "--tail", "-1" if containing else str(last_lines))
    except CommandError as error:
        text = f"{containing} {error}"
    return [f"  | {line}" for line in text.splitlines() if containing in line][-last_lines:]
