"""Keys and variables of an agent, from the Secrets they are in: missing, refused, changed."""

from dataclasses import replace
from typing import Any

import pytest

from livekit_operator.views import ProviderError
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition
from tests.fakes.world import World
from tests.unit.operator.pools.steps import names

REFUSED = ProviderError("stt", "deepgram", 401, "INVALID_AUTH")


@pytest.mark.parametrize(
    ("secret", "reason", "words"),
    [
        pytest.param(None, "SecretNotFound", "Secret providers of spec.agent.llm.apiKeySecretRef", id="no Secret"),
        pytest.param(
            manifests.secret("providers", deepgram="k"), "SecretKeyMissing",
            "Secret providers of spec.agent.llm.apiKeySecretRef has no key openai", id="no key",
        ),
        pytest.param(
            manifests.secret("providers", openai="k", deepgram=""), "SecretKeyMissing",
            "Secret providers of spec.agent.stt.apiKeySecretRef has no key deepgram", id="empty key",
        ),
    ],
)  # fmt: skip
async def test_a_missing_provider_key_is_named_and_heals(
    world: World, secret: dict[str, Any] | None, reason: str, words: str
) -> None:
    await world.with_server()
    if secret:
        world.kubernetes.put(secret)
    world.kubernetes.put(manifests.pool())
    again = await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", reason)
    assert words in world.message("VoiceAgentPool", "front-desk")
    assert again is not None
    assert world.agent_pods() == []
    if secret:
        world.kubernetes.vanish("Secret", NAMESPACE, "providers")
    world.kubernetes.put(manifests.providers_secret())
    await world.settle()
    world.run_pods()
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")


async def test_a_provider_that_refuses_its_key_is_told_in_pool_and_room(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": "front-desk"}}]))
    await world.settle()
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    [pod] = world.agent_pods()
    world.say(pod, errors=(REFUSED,))
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "ProviderRejected")
    message = world.message("VoiceAgentPool", "front-desk")
    assert "deepgram refuses the key for stt (HTTP 401)" in message
    assert condition(world.get("VoiceAgentPool", "front-desk"), "ProvidersAccepted")["status"] == "False"
    assert world.ready("MeetingRoom", "support-42") == ("False", "ProviderRejected")
    assert message in world.message("MeetingRoom", "support-42")
    world.say(pod)
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")


async def test_a_provider_that_another_stands_in_for_leaves_the_pool_ready(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": "front-desk"}}]))
    [pod] = world.agent_pods()
    refused = ProviderError("stt.fallbacks[1]", "openai", 401, "m")
    world.say(pod, errors=(replace(REFUSED, covered=True), replace(refused, covered=True)))
    await world.settle()
    told = condition(world.get("VoiceAgentPool", "front-desk"), "ProvidersAccepted")
    assert (told["status"], told["reason"]) == ("False", "FallbackServes")
    assert "check the Secret of spec.agent.stt.fallbacks[1].apiKeySecretRef" in told["message"]
    assert told["message"].count("Another provider stands in.") == 2
    for kind, name in (("VoiceAgentPool", "front-desk"), ("MeetingRoom", "support-42")):
        assert world.ready(kind, name) == ("True", "Ready")


async def test_the_secrets_of_a_plugin_are_looked_for_and_only_calls_ask_it(world: World) -> None:
    await world.with_server()
    agent = manifests.pool()["spec"]["agent"]
    options = [{"name": "api_secret", "secretKeyRef": {"name": "spare", "key": "it"}}]
    tts = {"provider": "plugin", "plugin": {"package": "livekit.plugins.x", "secretOptions": options}}
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(agent={**agent, "tts": tts}))
    await world.reconcile("VoiceAgentPool", "front-desk")
    words = "Secret spare of spec.agent.tts.plugin.secretOptions[0].secretKeyRef"
    assert words in world.message("VoiceAgentPool", "front-desk")
    world.kubernetes.put(manifests.secret("spare", it="spare-key"))
    await world.settle()
    world.run_pods()
    await world.settle()
    [pod] = world.agent_pods()
    variables = {entry["name"]: entry for entry in pod["spec"]["containers"][0]["env"]}
    assert variables["TTS_OPTION_0"]["valueFrom"]["secretKeyRef"] == {"name": "spare", "key": "it"}
    told = condition(world.get("VoiceAgentPool", "front-desk"), "ProvidersAccepted")
    assert told["message"] == "Every provider answers (llm, stt). Only calls ask plugins (tts)."


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (0, "MCP server crm cannot be reached: check the network and spec.agent.tools.mcp[0].url. Calls go on without"),
        (
            401,
            "MCP server crm refuses what it is sent (HTTP 401): check the Secrets of spec.agent.tools.mcp[0].headers.",
        ),
        (503, "MCP server crm fails (HTTP 503): check spec.agent.tools.mcp[0].url. Calls go on without its tools."),
    ],
)
async def test_a_pool_goes_on_without_a_server_of_tools_and_says_so(world: World, code: int, says: str) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": "front-desk"}}]))
    [pod] = world.agent_pods()
    tools = ProviderError("tools.mcp[0]", "crm", code, "m", covered=True)
    world.say(pod, errors=(tools,))
    await world.settle()
    told = condition(world.get("VoiceAgentPool", "front-desk"), "ProvidersAccepted")
    assert (told["status"], told["reason"]) == ("False", "ToolsUnavailable")
    assert says in told["message"]
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    assert world.ready("MeetingRoom", "support-42") == ("True", "Ready")
    world.say(pod, errors=(tools, replace(REFUSED, covered=True)))
    await world.settle()
    assert condition(world.get("VoiceAgentPool", "front-desk"), "ProvidersAccepted")["reason"] == "FallbackServes"


async def test_the_secrets_of_tools_are_looked_for_and_never_in_the_file(world: World) -> None:
    await world.with_server()
    headers = [{"name": "Authorization", "scheme": "Bearer", "secretKeyRef": {"name": "booking", "key": "token"}}]
    tool = {"name": "find_slots", "description": "Finds slots.", "url": "https://x/slots", "headers": headers}
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(agent={**manifests.pool()["spec"]["agent"], "tools": {"http": [tool]}}))
    await world.reconcile("VoiceAgentPool", "front-desk")
    words = "Secret booking of spec.agent.tools.http[0].headers[0].secretKeyRef"
    assert words in world.message("VoiceAgentPool", "front-desk")
    world.kubernetes.put(manifests.secret("booking", token="key-of-the-booking"))
    await world.settle()
    [pod] = world.agent_pods()
    variables = {entry["name"]: entry for entry in pod["spec"]["containers"][0]["env"]}
    assert variables["TOOLS_HTTP_0_HEADER_0"]["valueFrom"]["secretKeyRef"] == {"name": "booking", "key": "token"}
    assert "key-of-the-booking" not in str([pod, *world.world()["ConfigMap"]])


async def test_a_schema_that_no_agent_understands_is_told(world: World) -> None:
    await world.with_server()
    wrong = {"type": "object", "properties": {"day": {"$ref": "https://elsewhere"}}}
    tool = {"name": "find_slots", "description": "Finds slots.", "url": "https://x/slots", "parameters": wrong}
    world.kubernetes.put(manifests.pool(agent={**manifests.pool()["spec"]["agent"], "tools": {"http": [tool]}}))
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "NotUnderstood")
    words = "spec.agent.tools.http.0.parameters is not understood: parameters.day has $ref, which is not supported"
    assert words in world.message("VoiceAgentPool", "front-desk")


async def test_a_pod_that_no_other_provider_helps_counts(world: World) -> None:
    await world.with_server()
    await world.with_pool(replicas=2)
    one, other = world.agent_pods()
    world.say(one, errors=(REFUSED,))
    world.say(other, errors=(replace(REFUSED, covered=True),))
    await world.settle()
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "ProviderRejected")


async def test_the_key_of_a_fallback_is_looked_for_and_one_that_needs_none_is_not(world: World) -> None:
    await world.with_server()
    agent = manifests.pool()["spec"]["agent"]
    fallback = {"provider": "openai", "apiKeySecretRef": {"name": "spare", "key": "it"}}
    local = {"provider": "openai", "model": "whisper", "baseUrl": "http://speaches/v1", "fallbacks": [fallback]}
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool(agent={**agent, "stt": local}))
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "SecretNotFound")
    words = "Secret spare of spec.agent.stt.fallbacks[0].apiKeySecretRef"
    assert words in world.message("VoiceAgentPool", "front-desk")
    world.kubernetes.put(manifests.secret("spare", it="spare-key"))
    await world.settle()
    [pod] = world.agent_pods()
    variables = {entry["name"]: entry for entry in pod["spec"]["containers"][0]["env"]}
    assert variables["STT_FALLBACKS_0_API_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "spare", "key": "it"}
    assert "STT_API_KEY" not in variables


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (ProviderError("llm", "openai", 403, "m"), "ProviderRejected", "openai refuses the key for llm (HTTP 403)"),
        (ProviderError("tts", "deepgram", 500, "m"), "ProviderFailing", "deepgram fails for tts (code 500)"),
        (ProviderError("tts", "deepgram", 0, "m"), "ProviderFailing", "deepgram cannot be reached for tts"),
    ],
)
async def test_what_is_wrong_with_a_provider_is_told(
    world: World, error: ProviderError, reason: str, words: str
) -> None:
    await world.with_server()
    await world.with_pool()
    world.kubernetes.put(manifests.room(agents=[{"poolRef": {"name": "front-desk"}}]))
    world.say(world.agent_pods()[0], errors=(error,))
    await world.settle()
    for kind, name in (("VoiceAgentPool", "front-desk"), ("MeetingRoom", "support-42")):
        assert world.ready(kind, name) == ("False", reason)
        assert words in world.message(kind, name)


async def test_a_changed_provider_key_makes_new_pods(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    [before] = world.agent_pods()
    changed = manifests.secret("providers", deepgram="new", openai="oa-key")
    world.kubernetes.edit("Secret", NAMESPACE, "providers", {"data": changed["data"]})
    world.clock.advance(10)
    await world.settle()
    world.run_pods()
    await world.settle()
    assert before["metadata"]["name"] not in names(world.agent_pods())


def own_agent(**reference: Any) -> dict[str, Any]:
    """Return `spec.agent` of an image that takes its key from a Secret."""
    variable = {"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "openai", **reference}}}
    return manifests.own_agent(env=[{"name": "LOG", "value": "info"}, variable])


async def replaced(world: World) -> list[str]:
    """Let time pass and pods start and end; return the names of those that are there then."""
    world.clock.advance(10)
    for _ in range(4):
        await world.settle()
        world.run_pods()
        await world.settle()
        world.end_pods()
    return names(world.agent_pods())


async def test_a_changed_key_of_an_agents_own_makes_new_pods(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.secret("mine", openai="old-key", other="x"))
    await world.with_pool(agent=own_agent())
    before = names(world.agent_pods())
    world.say(world.agent_pods()[0], sessions=1)
    revision = world.get("VoiceAgentPool", "front-desk")["status"]["revision"]
    changed = manifests.secret("mine", openai="old-key", other="y")["data"]
    world.kubernetes.edit("Secret", NAMESPACE, "mine", {"data": changed})
    assert await replaced(world) == before, "no variable takes it"
    changed = manifests.secret("mine", openai="new-key")["data"]
    world.kubernetes.edit("Secret", NAMESPACE, "mine", {"data": changed})
    world.clock.advance(10)
    await world.settle()
    assert len(world.agent_pods()) == 2
    assert names(world.agent_pods(leaving=True)) == [], "the call goes on until there is another pod"
    assert not set(await replaced(world)) & set(before)
    assert world.get("VoiceAgentPool", "front-desk")["status"]["revision"] == revision
    for key, manifest in world.kubernetes.objects.items():
        told = {name: part for name, part in manifest.items() if name != "spec"}
        assert key[0] == "Secret" or ("new-key" not in str(told) and changed["openai"] not in str(told))


@pytest.mark.parametrize("optional", [False, True])
async def test_a_key_of_an_agents_own_may_be_missing(world: World, optional: bool) -> None:
    await world.with_server()
    await world.with_pool(agent=own_agent(optional=optional))
    before = names(world.agent_pods())
    assert len(before) == 1
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")
    world.forget()
    for _ in range(4):
        world.clock.advance(2)
        await world.settle()
    assert world.kubernetes.reads.count("get Secret/mine") <= 1
    world.kubernetes.put(manifests.secret("mine", openai="a-key"))
    assert not set(await replaced(world)) & set(before)


async def test_any_changed_key_of_a_secret_that_is_taken_whole_makes_new_pods(world: World) -> None:
    await world.with_server()
    sources = [{"secretRef": {"name": "mine"}}, {"secretRef": {"name": "missing", "optional": True}}]
    world.kubernetes.put(manifests.secret("mine", A="1", B="2"))
    await world.with_pool(agent=manifests.own_agent(envFrom=[*sources, {"configMapRef": {"name": "settings"}}]))
    before = names(world.agent_pods())
    assert await replaced(world) == before
    world.kubernetes.edit("Secret", NAMESPACE, "mine", {"metadata": {"labels": {"a": "b"}}})
    assert await replaced(world) == before, "its values are the same"
    world.kubernetes.edit("Secret", NAMESPACE, "mine", {"data": manifests.secret("mine", A="1", B="3")["data"]})
    second = await replaced(world)
    assert not set(second) & set(before)
    world.kubernetes.put(manifests.secret("missing", C="4"))
    assert not set(await replaced(world)) & set(second)


@pytest.mark.parametrize(
    "source",
    [
        {"secretKeyRef": {"key": "k"}},
        {"secretKeyRef": {"name": "../../others/secrets/s", "key": "k"}},
        {"secretKeyRef": {"name": 1, "key": []}},
        {"secretKeyRef": "s"},
        {"secretKeyRef": None},
        {"fieldRef": {"fieldPath": "metadata.name"}},
        {},
    ],
)
async def test_a_variable_that_names_no_secret_stops_nothing(world: World, source: dict[str, Any]) -> None:
    await world.with_server()
    await world.with_pool(agent=manifests.own_agent(env=[{"name": "A", "valueFrom": source}]))
    assert len(world.agent_pods()) == 1
