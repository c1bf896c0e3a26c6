"""Changes of manifests that are right, and parts of them."""

import copy
from typing import Any

from tests.fakes import manifests
from tests.harness.api import Api

Change = dict[str, Any]
Wrong = tuple[str, Change, str, str]
"""What is wrong, what is changed for that, the field that is named, and words of the refusal."""


def changed(manifest: dict[str, Any], namespace: str, spec: Change) -> dict[str, Any]:
    """Return a manifest in a namespace, with the values at some paths."""
    result = copy.deepcopy(manifest)
    result["metadata"]["namespace"] = namespace
    for path, value in spec.items():
        node = result
        *parents, last = path.split(".")
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value
    return result


SERVER, POOL, ROOM = manifests.server(), manifests.pool(), manifests.room()
RANGE = "spec.media.udp.portRange"
MUX = "spec.media.udp.muxPorts"
LONG = "a" * 51
GATEWAY = {"parentRefs": [{"name": "g"}], "host": "a.b"}
TURN_TLS = {"domain": "turn.example.com", "tls": {"external": True}}
NODE_PORTS = {"exposure": "NodePort", "nodePorts": {"start": 30000, "end": 30010}}
OWN_AGENT = manifests.own_agent()
SCHEDULE = {"start": "08:00", "end": "18:00", "minReplicas": 2}
PLACE = {"name": "here", "latitude": 1, "longitude": 2.5}


def schedules(**values: Any) -> Change:
    return {"spec.autoscaling": {"schedules": [{**SCHEDULE, **values}]}}


def variables(*names: str, **values: Any) -> list[dict[str, Any]]:
    return [{"name": name, "value": "x", **values} for name in names]


def token(**values: Any) -> list[dict[str, Any]]:
    return [{"identity": "alice", **values}]


async def assert_refused(api: Api, namespace: str, manifest: dict[str, Any], wrong: Wrong) -> None:
    """Assert that a manifest is refused once it is changed, by the field and with the words that are named."""
    _, change, field, words = wrong
    made = changed(manifest, namespace, change)
    if made["spec"] is None:
        del made["spec"]
    answer = await api.try_create(made, dryRun="All")
    assert answer.status in (400, 422), answer.body
    assert field in answer.message
    assert words in answer.message
