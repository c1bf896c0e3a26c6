"""What changes the operator's objects again and again at a real API server: it is told, and little is written."""

import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from livekit_operator.clients.api_resources import RESOURCES
from livekit_operator.constants import LABEL_MANAGED_BY, MANAGED_BY
from tests.fakes import manifests
from tests.fakes.manifests import Manifest
from tests.fakes.waiting import eventually, eventually_async
from tests.harness.api import Api
from tests.integration.admission import mutating_webhook
from tests.integration.operated import Operated, operated

# Kind of child -> JSON pointer of a field that the operator applies, the value a webhook gives it, and the field
# as conditions name it. Between them: labels, numbers, words, flags, items of lists that have keys, and whole lists.
_LABEL = ("/metadata/labels/app.kubernetes.io~1name", "changed", "metadata.labels[app.kubernetes.io/name]")
CHANGES = {
    "Service": ("/spec/ports/0/targetPort", 1, "spec.ports[0].targetPort"),
    "ConfigMap": _LABEL,
    "Secret": _LABEL,
    "ServiceAccount": ("/automountServiceAccountToken", True, "automountServiceAccountToken"),
    "PodDisruptionBudget": ("/spec/unhealthyPodEvictionPolicy", "IfHealthyBudget", "spec.unhealthyPodEvictionPolicy"),
    "NetworkPolicy": ("/spec/ingress", [], "spec.ingress"),
    "Ingress": ("/spec/rules/0/host", "changed.example.com", "spec.rules[0].host"),
    "Deployment": ("/spec/replicas", 2, "spec.replicas"),
}
SELECTOR = ("/status/selector", "changed=true", "status.selector")
RULES = [
    {"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": resources}
    for group, resources in (
        ("", ["services", "configmaps", "secrets", "serviceaccounts"]),
        ("policy", ["poddisruptionbudgets"]),
        ("networking.k8s.io", ["networkpolicies", "ingresses"]),
        ("apps", ["deployments"]),
        ("livekit-operator.dev", ["livekitservers/status"]),
    )
]
SERVER: dict[str, Any] = {
    "redis": {"managed": {}},
    "signal": {"externalUrl": "wss://voice.example.com", "ingress": {"host": "voice.example.com"}},
}
RESOURCES_OF_OURS = (("LiveKitServer", "voice"), ("VoiceAgentPool", "front-desk"), ("MeetingRoom", "support-42"))
STANDS_SECONDS = 15
# Made (1), wanted otherwise by then (2), and whole lists put in place after ten seconds (2).
MOST_WRITES = 5
_TOLD = re.compile(
    r"(\w+) ([\w-]+) is not kept as this operator writes it: (\S+) was changed by an admission policy or webhook of "
    r"this cluster\. Have it leave (\S+) of this operator's objects alone\."
)


@asynccontextmanager
async def changing(api: Api, namespace: str, changes: dict[str, tuple[str, Any, str]]) -> AsyncIterator[None]:
    """Have a webhook that changes a field of each kind; it is in force when this begins."""

    def change(written: Manifest) -> list[Manifest]:
        kind = written["kind"]
        labels = written["metadata"].get("labels") or {}
        if kind not in changes or (kind != "LiveKitServer" and labels.get(LABEL_MANAGED_BY) != MANAGED_BY):
            return []
        pointer, value, _ = changes[kind]
        return [{"op": "add", "path": pointer, "value": value}]

    async with mutating_webhook(api, namespace, change, RULES):
        await _until_labelled(api, namespace, "changed")
        yield
    await _until_labelled(api, namespace, "probe")


async def _until_labelled(api: Api, namespace: str, name: str) -> None:
    """Wait until a dry run shows whether the webhook is in force: the API server learns of it by a watch."""
    labels = {LABEL_MANAGED_BY: MANAGED_BY, "app.kubernetes.io/name": "probe"}
    metadata = {"name": "probe", "namespace": namespace, "labels": labels}
    probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}

    async def shown() -> bool:
        made = (await api.try_create(probe, dryRun="All")).body
        return bool(made.get("metadata", {}).get("labels", {}).get("app.kubernetes.io/name") == name)

    await eventually_async(shown, f"a label {name}", seconds=30)


def written(operator: Operated) -> Counter[str]:
    """Return how often each object was written, whatever the verb; Kind/name."""
    return Counter(write.split()[1] for write in operator.kubernetes.writes)


def passes(operator: Operated) -> float:
    labels = {"kind": "LiveKitServer", "result": "ok"}
    return operator.metrics.registry.get_sample_value("livekit_operator_reconcile_total", labels) or 0


async def stand(operator: Operated, seconds: float, *, looks: int) -> None:
    """Let the server be looked at so often, and for so long."""
    until, first = time.monotonic() + seconds, passes(operator)
    await eventually(
        lambda: time.monotonic() >= until and passes(operator) >= first + looks, "looks", seconds=seconds + 30
    )


async def degraded(operator: Operated, kind: str, name: str) -> Manifest:
    """Return the condition Degraded; one that is not there is False."""
    conditions = ((await operator.get(kind, name)).get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == "Degraded"), {"status": "False", "reason": "", "message": ""})


def field(manifest: Manifest, pointer: str) -> Any:
    """Return what is at a JSON pointer."""
    found: Any = manifest
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/")
        found = found[int(key)] if isinstance(found, list) else (found or {}).get(key)
    return found


@pytest.mark.timeout(150)
async def test_a_webhook_that_changes_every_kind_of_child(
    api: Api, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with operated(api, namespace) as operator:
        async with changing(api, namespace, CHANGES):
            await operator.with_server(**SERVER)
            await operator.with_pool()
            await operator.create(manifests.room(tokens=[{"identity": "alice"}, {"identity": "bob"}]))
            await operator.reason("MeetingRoom", "support-42")
            await stand(operator, STANDS_SECONDS, looks=10)

            children = {write: n for write, n in written(operator).items() if write.split("/")[0] in CHANGES}
            assert {write.split("/")[0] for write in children} == set(CHANGES)
            assert max(children.values()) <= MOST_WRITES, children
            for kind, name in RESOURCES_OF_OURS:
                told = await degraded(operator, kind, name)
                assert (told["status"], told["reason"]) == ("True", "ChildChanged"), (kind, told)
                named = _TOLD.findall(told["message"])
                assert named, told["message"]
                assert all(shown == again == CHANGES[child][2] for child, _, shown, again in named), told["message"]
            # A condition names three of them; the log names each.
            logged = {match[:3] for match in _TOLD.findall(caplog.text)}
            assert {(kind, shown) for kind, _, shown in logged} == {(kind, CHANGES[kind][2]) for kind in CHANGES}
            for kind, name, _ in logged:
                assert f"{kind}/{name}" in children
        changed = {(kind, name) for kind, name, _ in logged}

        async def told_no_more() -> bool:
            told = [await degraded(operator, kind, name) for kind, name in RESOURCES_OF_OURS]
            return all(one["status"] == "False" for one in told)

        await operator.until("the conditions to end", told_no_more, seconds=60)
        for kind, name in changed:
            pointer, value, _ = CHANGES[kind]
            assert field(await operator.get(kind, name), pointer) != value, (kind, name)
        before = list(operator.kubernetes.writes)
        await stand(operator, 3, looks=3)
        assert operator.kubernetes.writes == before


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("kind", "pointer", "value", "shown"),
    [
        ("Service", "/spec/ports/0/port", 9, "spec.ports[0].port"),
        ("Service", "/spec/ports/0/protocol", "UDP", "spec.ports[0].protocol"),
        ("Deployment", "/spec/template/spec/containers/0/name", "changed", "spec.template.spec.containers[0].name"),
    ],
)
async def test_a_webhook_that_changes_the_key_of_a_list_item(
    api: Api, namespace: str, kind: str, pointer: str, value: Any, shown: str
) -> None:
    """Server-side apply takes it for another item: beside the changed one ours was refused for its name, for ever."""
    async with operated(api, namespace) as operator:
        async with changing(api, namespace, {"ConfigMap": _LABEL, kind: (pointer, value, shown)}):
            await operator.create(manifests.server(**SERVER))
            await operator.server_runs()
            await stand(operator, STANDS_SECONDS, looks=5)
            children = {what: n for what, n in written(operator).items() if what.split("/")[0] == kind}
            assert max(children.values()) <= MOST_WRITES, children
            told = await degraded(operator, "LiveKitServer", "voice")
            assert (told["status"], told["reason"]) == ("True", "ChildChanged"), told
            named = _TOLD.findall(told["message"])
            assert {(child, field) for child, _, field, _ in named} == {(kind, shown)}, told["message"]
            assert {f"{child}/{name}" for child, name, *_ in named} == set(children)

        async def put_right() -> bool:
            found = [await operator.get(*what.split("/")) for what in children]
            changed = any(field(one, pointer) == value for one in found)
            return not changed and (await degraded(operator, "LiveKitServer", "voice"))["status"] == "False"

        await operator.until("everything to be as it is written", put_right, seconds=60)


@pytest.mark.timeout(90)
async def test_another_manager_that_changes_a_field_again_and_again(api: Api, namespace: str) -> None:
    async with operated(api, namespace) as operator:
        await operator.with_server()
        kind, name = "PodDisruptionBudget", "voice-livekit"
        path = RESOURCES[kind].path(namespace, name)
        theirs = {"apiVersion": "policy/v1", "kind": kind, "metadata": {"name": name}, "spec": {"maxUnavailable": 7}}
        operator.kubernetes.writes.clear()

        async def fight() -> bool:
            found = await operator.get(kind, name)
            if found["spec"]["maxUnavailable"] != 7:
                (await api.apply(path, theirs, "their-controller")).accepted()
            return bool((await degraded(operator, "LiveKitServer", "voice"))["status"] == "True")

        await operator.until("the condition", fight)
        told = await degraded(operator, "LiveKitServer", "voice")
        assert told["reason"] == "ChildChanged"
        assert "PodDisruptionBudget voice-livekit was changed or removed again and again" in told["message"]
        assert "spec.maxUnavailable was changed by their-controller" in told["message"]
        until = time.monotonic() + 5

        async def fought() -> bool:
            await fight()
            return time.monotonic() > until

        await operator.until("some time", fought)
        assert 10 <= written(operator)[f"{kind}/{name}"] <= 12


@pytest.mark.timeout(90)
async def test_a_webhook_that_changes_a_status(api: Api, namespace: str) -> None:
    async with operated(api, namespace) as operator:
        async with changing(api, namespace, {"ConfigMap": _LABEL, "LiveKitServer": SELECTOR}):
            await operator.with_server()
            operator.kubernetes.writes.clear()
            await stand(operator, 6, looks=5)
            told = await degraded(operator, "LiveKitServer", "voice")
            assert (told["status"], told["reason"]) == ("True", "StatusChanged")
            assert "status.selector" in told["message"]
            assert "admission policy" in told["message"]
            assert written(operator)["LiveKitServer/voice/status"] <= 4

        # What is to be written otherwise does not wait.
        await operator.patch("LiveKitServer", "voice", {"spec": {"signal": {"externalUrl": "wss://other.example.com"}}})

        async def as_written() -> bool:
            told = await degraded(operator, "LiveKitServer", "voice")
            status = (await operator.get("LiveKitServer", "voice"))["status"]
            return bool(told["status"] == "False" and status["selector"] != "changed=true")

        await operator.until("the status as it is written", as_written, seconds=60)
