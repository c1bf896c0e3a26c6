"""Objects that the operator cannot read, at a real API server: it gets past them, and names them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from livekit_operator.clients.api_resources import RESOURCES
from livekit_operator.clients.decoding import UNREAD
from livekit_operator.clients.kubernetes import KubernetesClient
from livekit_operator.constants import LABEL_MANAGED_BY, MANAGED_BY, MANAGED_SELECTOR
from livekit_operator.metrics import Metrics
from tests.fakes import manifests
from tests.harness.api import Api, operator_client
from tests.integration.operated import Operated, operated


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def config_map(name: str, namespace: str, text: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {LABEL_MANAGED_BY: MANAGED_BY}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}}


@pytest.fixture
async def operator(api: Api, namespace: str) -> AsyncIterator[Operated]:
    async with operated(api, namespace) as made:
        yield made


async def raw(api: Api, verb: str, path: str, body: str | None = None) -> str:
    """Send and receive text: Python's own JSON neither writes nor reads what is nested so deeply."""
    status, answer = await api.exchange(verb, path, body)
    assert status < 300, answer
    return answer.decode()


async def create_deep(api: Api, namespace: str, name: str, levels: int) -> None:
    """Create a LiveKitServer whose extraConfig is nested so deeply."""
    manifest = manifests.server(extraConfig={"room": "HERE"})
    manifest["metadata"] = {"name": name, "namespace": namespace}
    deep = '{"a":' * levels + "{}" + "}" * levels
    path = RESOURCES["LiveKitServer"].path(namespace)
    await raw(api, "POST", path, json.dumps(manifest).replace('"HERE"', deep))


async def says_why(operator: Operated, name: str) -> None:
    """Wait until a LiveKitServer says that it is nested too deeply."""

    async def does() -> bool:
        text = await raw(operator.api, "GET", RESOURCES["LiveKitServer"].path(operator.namespace, name))
        return '"This resource is not read: it is nested too deeply.' in text and '"NotUnderstood"' in text

    await operator.until(f"{name} to say that it is nested too deeply", does)


async def test_an_object_nested_too_deeply_says_so_and_stops_nothing(operator: Operated) -> None:
    await create_deep(operator.api, operator.namespace, "deep", 1500)
    await says_why(operator, "deep")
    await operator.with_server()
    value = operator.metrics.registry.get_sample_value
    assert (value("livekit_operator_unread_objects_total", {"resource": "livekitservers"}) or 0) > 0
    path = RESOURCES["LiveKitServer"].path(operator.namespace, "deep")
    await raw(operator.api, "DELETE", path)

    async def is_gone() -> bool:
        return (operator.namespace, "deep") not in operator.runtime.context.resources["LiveKitServer"]

    await operator.until("its end to be seen", is_gone)


async def test_a_start_does_not_depend_on_one_object(api: Api, namespace: str) -> None:
    await create_deep(api, namespace, "deep", 1500)
    async with operated(api, namespace) as operator:
        await says_why(operator, "deep")
        await operator.with_server()
    await raw(api, "DELETE", RESOURCES["LiveKitServer"].path(namespace, "deep"))


async def test_a_field_that_is_too_deep_is_named(operator: Operated) -> None:
    await operator.create(manifests.server(extraConfig={"room": nested(40)}))
    message = await operator.reason("LiveKitServer", "voice", "NotUnderstood")
    assert message.startswith("spec.extraConfig is not understood: nested deeper than 32 levels")


async def test_long_objects_of_others_are_neither_in_the_way_nor_kept(operator: Operated) -> None:
    # The API server writes each of these characters as six.
    for number in range(3):
        await operator.create(config_map(f"long-{number}", operator.namespace, "<" * 1000_000))
    await operator.with_server()
    assert operator.runtime.context.children["ConfigMap"].get((operator.namespace, "long-0")) is None
    assert len(operator.runtime.context.children["ConfigMap"]) == 0


async def test_pages_with_long_objects_are_listed(api: Api, namespace: str) -> None:
    for number in range(4):
        await api.create(config_map(f"long-{number}", namespace, "<" * 1000_000))
    client = await operator_client(api.configuration, Metrics(), None, KubernetesClient)
    found = []
    versions = set()
    async for page in client.pages("ConfigMap", MANAGED_SELECTOR):
        found += [item for item in page.items if item["metadata"]["namespace"] == namespace]
        versions.add(page.version)
    newest = await client.newest("ConfigMap")
    await client.close()
    assert len(found) == 4
    assert not any(UNREAD in item for item in found)
    assert len(versions) == 1
    assert int(newest) >= int(versions.pop())
