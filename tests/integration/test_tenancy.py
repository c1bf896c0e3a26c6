"""What is taken away is gone from a real API server too: the key and the pods of a pool, an Ingress."""

import secrets
from collections.abc import AsyncIterator

import pytest

from livekit_operator.settings import Allowed
from tests.fakes import manifests
from tests.fakes.waiting import eventually_async
from tests.harness.api import Api
from tests.integration.conftest import create_namespace, delete_namespace
from tests.integration.operated import SECONDS, operated


@pytest.fixture
async def guests(api: Api) -> AsyncIterator[str]:
    """Return another empty namespace."""
    name = f"guests-{secrets.token_hex(4)}"
    await create_namespace(api, name)
    yield name
    await delete_namespace(api, name)


async def test_a_pool_that_is_allowed_no_more_loses_key_and_pods(api: Api, namespace: str, guests: str) -> None:
    async with operated(api, namespace, others=frozenset({guests})) as operator:
        await operator.with_server(allowedPoolNamespaces=[guests])
        reference = {"name": "voice", "namespace": namespace}
        await api.create(manifests.providers_secret(guests))
        await api.create(manifests.pool(namespace=guests, serverRef=reference))

        async def has(*, key: bool, pod: bool) -> bool:
            secret = await api.get("Secret", guests, "front-desk-agent")
            return (secret is not None, bool(await api.list("Pod", guests))) == (key, pod)

        await eventually_async(lambda: has(key=True, pod=True), "key and pod", seconds=SECONDS)
        await operator.patch("LiveKitServer", "voice", {"spec": {"allowedPoolNamespaces": []}})
        await eventually_async(lambda: has(key=False, pod=False), "neither key nor pod", seconds=SECONDS)

        async def is_told() -> bool:
            pool = await api.get("VoiceAgentPool", guests, "front-desk") or {}
            told = {c["type"]: (c["status"], c["reason"]) for c in pool["status"]["conditions"]}
            wanted = dict.fromkeys(("Ready", "Progressing", "AgentsAvailable"), ("False", "ServerNotAllowed"))
            return told == {**wanted, "ProvidersAccepted": ("Unknown", "ServerNotAllowed")}

        await eventually_async(is_told, "conditions that say so", seconds=SECONDS)
        await operator.patch("LiveKitServer", "voice", {"spec": {"allowedPoolNamespaces": [guests]}})
        await eventually_async(lambda: has(key=True, pod=True), "both again", seconds=SECONDS)


async def test_an_ingress_of_a_host_that_is_not_allowed_goes(api: Api, namespace: str) -> None:
    async with operated(api, namespace) as operator:
        await operator.with_server(signal={"ingress": {"host": "voice.example.com"}})
        await operator.get("Ingress", "voice-livekit")
    async with operated(api, namespace, allowed=Allowed(hosts={"*": ("*.example.org",)})) as operator:
        await operator.server_runs()
        message = await operator.reason("LiveKitServer", "voice", "NotAllowed")
        assert message.startswith("spec.signal.ingress.host: voice.example.com in namespace ")
        await operator.gone("Ingress", "voice-livekit")
