"""A version of a pool: what makes another one, and what its ConfigMap remembers of it."""

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.errors import Blocked
from livekit_operator.moments import parse_timestamp
from livekit_operator.pools.manifests import records, versions
from livekit_operator.pools.manifests.versions import Template
from tests.fakes import manifests, models
from tests.fakes.manifests import Manifest

CREATED = "2026-03-01T12:00:00Z"
POD_TEMPLATE = {"volumes": [{"name": "models", "emptyDir": {}}], "labels": {"team": "voice"}}


def template(image: str = "agent:1", urls: dict[str, str] | None = None, **spec: Any) -> Template:
    return versions.build_template(models.pool(**spec), image, urls or {})


def revision(image: str = "agent:1", urls: dict[str, str] | None = None, **spec: Any) -> str:
    return versions.revision(template(image, urls, **spec))


def agent(**changes: Any) -> dict[str, Any]:
    return {**manifests.pool()["spec"]["agent"], **changes}


def as_stored(pool: VoiceAgentPool, wanted: Template) -> Manifest:
    """Return a version's ConfigMap as the API server gives it back."""
    manifest = versions.build_version_map(pool, wanted)
    manifest["metadata"]["creationTimestamp"] = CREATED
    stored: Manifest = json.loads(json.dumps(manifest))
    return stored


def record_of(stored: Manifest) -> records.Record:
    return records.Record(versions.content_digest(stored), parse_timestamp(CREATED))


def parsed(stored: Manifest) -> versions.PoolVersion | None:
    """Return the version in a ConfigMap that was recorded as it is."""
    revision_ = stored["metadata"]["labels"]["livekit-operator.dev/revision"]
    return versions.parse_version(stored, revision_, record_of(stored))


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        pytest.param({"replicas": 5}, True, id="number"),
        pytest.param({"autoscaling": {"maxReplicas": 3}}, True, id="limits"),
        pytest.param({"rollout": {"maxSurge": 2}}, True, id="rollout"),
        pytest.param({"agent": agent(env=[], vad=None, turnHandling=None, audioOnly=None)}, True, id="nothing twice"),
        pytest.param({"podTemplate": {"labels": {}}}, True, id="empty overrides"),
        pytest.param({"sessionsPerPod": 5}, False, id="capacity"),
        pytest.param({"idleProcesses": 5}, False, id="idle processes"),
        pytest.param({"agentName": "other"}, False, id="name"),
        pytest.param({"drainTimeoutSeconds": 5}, False, id="drain"),
        pytest.param({"terminationGracePeriodSeconds": 9000}, False, id="grace"),
        pytest.param({"metricsPort": 9091}, False, id="metrics"),
        pytest.param({"startupTimeoutSeconds": 400}, False, id="time to start"),
        pytest.param({"initializeTimeoutSeconds": 40}, False, id="time to become warm"),
        pytest.param({"resources": {"requests": {"cpu": "1"}}}, False, id="size"),
        pytest.param({"podTemplate": POD_TEMPLATE}, False, id="overrides"),
        pytest.param({"agent": agent(instructions="Be long.")}, False, id="instructions"),
        pytest.param({"agent": agent(vad={"minSpeechDurationMs": 80})}, False, id="voice activity"),
        pytest.param({"agent": agent(turnHandling={"detection": "vad"})}, False, id="turn handling"),
        pytest.param({"agent": agent(audioOnly=False)}, False, id="video"),
        pytest.param({"agent": agent(noiseSuppression=True)}, False, id="noise"),
        pytest.param({"agent": agent(preset="Balanced")}, False, id="preset"),
        pytest.param({"agent": agent(limits={"maxCallSeconds": 60})}, False, id="length of calls"),
        pytest.param({"agent": agent(neverSay=["darn"])}, False, id="words"),
        pytest.param({"agent": agent(promptTemplates=True)}, False, id="templates"),
        pytest.param(
            {"agent": agent(tts={**agent()["tts"], "fallbacks": [{**agent()["llm"], "provider": "openai"}]})},
            False, id="fallback",
        ),
        pytest.param({"agent": agent(env=[{"name": "TZ", "value": "UTC"}])}, False, id="variable"),
        pytest.param({"agent": manifests.own_agent()}, False, id="own agent"),
    ],
)  # fmt: skip
def test_what_makes_another_version(spec: dict[str, Any], same: bool) -> None:
    assert (revision(**spec) == revision()) is same


EVERYTHING = {
    "agent": agent(
        stt={**agent()["stt"], "model": "nova-2", "language": "de", "endpointingMs": 300, "baseUrl": "http://a/v1"},
        llm={**agent()["llm"], "temperature": 0.5},
        tts={**agent()["tts"], "sampleRate": 16000},
        vad={"activationThreshold": 0.7},
        turnHandling={"detection": "vad"},
        greeting="Hello",
        audioOnly=True,
    ),
    "metricsPort": 9091,
}


@pytest.mark.parametrize(
    ("spec", "urls", "name"),
    [
        pytest.param({}, {}, "8bee44d1a8", id="as little as possible"),
        pytest.param(EVERYTHING, {}, "a9d2696fcf", id="everything there was"),
        pytest.param({"agent": manifests.own_agent()}, {}, "5bbee43a67", id="own agent"),
        pytest.param({}, {"deepgram": "http://x/v1", "openai": "http://y/v1"}, "cc59ca336f", id="the operator's URLs"),
        pytest.param(
            {"agent": agent(stt={**agent()["stt"], "model": "nova-3"}, llm={**agent()["llm"], "model": "gpt-4o-mini"})},
            {}, "8bee44d1a8", id="with the defaults that the API server wrote once",
        ),
    ],
)  # fmt: skip
def test_another_operator_is_no_reason_for_another_version(
    spec: dict[str, Any], urls: dict[str, str], name: str
) -> None:
    """A new field of the API must not replace the pods of pools that do not use it."""
    assert revision(urls=urls, **spec) == name


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        pytest.param({}, False, id="the stock agent"),
        pytest.param({"agent": agent(image="mirror/agent:1")}, True, id="a mirror of it"),
        pytest.param({"agent": manifests.own_agent()}, False, id="its runner in an own image"),
        pytest.param({"agent": manifests.own_agent(runner="None")}, True, id="an own image as it is"),
    ],
)
def test_another_stock_image_replaces_only_pods_that_use_it(spec: dict[str, Any], same: bool) -> None:
    assert (revision("agent:2", **spec) == revision("agent:1", **spec)) is same


def test_base_urls_of_the_operator_count_where_they_are_used() -> None:
    own = agent(stt={**agent()["stt"], "baseUrl": "http://a/v1"}, tts={**agent()["tts"], "baseUrl": "http://b/v1"})
    assert revision(urls={"deepgram": "http://x/v1"}) != revision()
    assert revision(urls={"deepgram": "http://x/v1"}, agent=own) == revision(agent=own)
    assert revision(urls={"elsewhere": "http://x/v1"}) == revision()


def test_a_version_is_remembered_whole() -> None:
    pool = models.pool(podTemplate=POD_TEMPLATE, metricsPort=9091)
    wanted = versions.build_template(pool, "agent:1", {"openai": "http://gateway/v1"})
    stored = as_stored(pool, wanted)
    name = f"front-desk-agent-{versions.revision(wanted)}"
    assert stored["metadata"]["name"] == versions.version_map_name(pool, versions.revision(wanted)) == name
    assert stored["immutable"] is True
    digest = sha256(stored["data"]["config.json"].encode()).hexdigest()
    assert parsed(stored) == versions.PoolVersion(
        versions.revision(wanted), wanted, config_digest=digest, record=record_of(stored)
    )


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    st.booleans(),
    st.integers(1, 1000),
    st.floats(0, 2),
)
def test_whatever_is_written_comes_back(text: str, own: bool, sessions: int, temperature: float) -> None:
    told = agent(instructions=text, llm={**agent()["llm"], "temperature": temperature})
    spec: dict[str, Any] = {"agent": manifests.own_agent(args=[text]) if own else told}
    pool = models.pool(sessionsPerPod=sessions, **spec)
    wanted = versions.build_template(pool, "agent:1", {})
    found = parsed(as_stored(pool, wanted))
    assert found is not None
    assert found.template == wanted
    assert versions.revision(found.template) == found.revision
    restored = versions.with_template(models.pool(), found.template)
    assert versions.build_template(restored, "agent:1", {}) == wanted


def test_what_was_remembered_before_there_were_records_is_read_from_the_map() -> None:
    stored = as_stored(models.pool(), template())
    stored["metadata"]["annotations"] = {
        "livekit-operator.dev/proven": "2026-03-01T12:10:00Z",
        "livekit-operator.dev/failed": "no pod became ready within 600 s",
    }
    found = versions.record_of_former(models.pool(), stored)
    assert found is not None
    revision, record = found
    assert revision == versions.revision(template())
    assert record.proven == parse_timestamp("2026-03-01T12:10:00Z")
    assert record.failed == "no pod became ready within 600 s"
    assert versions.parse_version(stored, revision, record) is not None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"metadata": {"name": "front-desk-agent-0123456789"}}, id="another name"),
        pytest.param({"metadata": {"labels": {}}}, id="another label"),
        pytest.param({"immutable": False}, id="could be changed"),
        pytest.param({"data": {"config.json": "{}", "template.json": "{}"}}, id="another content"),
    ],
)
def test_a_map_that_is_not_what_it_says_is_no_former_version(change: Manifest) -> None:
    stored = as_stored(models.pool(), template())
    stored |= {**change, "metadata": {**stored["metadata"], **change.get("metadata", {})}}
    assert versions.record_of_former(models.pool(), stored) is None


def test_a_notes_time_that_cannot_be_reckoned_with_is_none() -> None:
    stored = as_stored(models.pool(), template())
    stored["metadata"]["annotations"] = {"livekit-operator.dev/proven": "yesterday"}
    found = versions.record_of_former(models.pool(), stored)
    assert found is not None
    assert found[1].proven is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"data": None}, id="no data"),
        pytest.param({"data": {"config.json": "{}"}}, id="no template"),
        pytest.param({"data": {"config.json": "{}", "template.json": "{"}}, id="no JSON"),
        pytest.param({"data": {"config.json": "{}", "template.json": "[]"}}, id="another template"),
        pytest.param(
            {"data": {"config.json": "{}", "template.json": '{"spec": {"agent": {"env": 1}}}'}}, id="no agent"
        ),
    ],
)
def test_what_is_no_version_is_none(change: dict[str, Any]) -> None:
    changed = {**as_stored(models.pool(), template()), **change}
    assert versions.parse_version(changed, versions.revision(template()), record_of(changed)) is None


@pytest.mark.parametrize("file", ["config.json", "template.json"])
def test_a_map_of_another_content_than_was_recorded_is_no_version(file: str) -> None:
    stored = as_stored(models.pool(), template())
    record = record_of(stored)
    stored["data"] = {**stored["data"], file: stored["data"][file] + " "}
    assert versions.parse_version(stored, versions.revision(template()), record) is None


def test_a_version_is_its_digest_under_its_own_name() -> None:
    stored = as_stored(models.pool(), template())
    other = versions.revision(template(sessionsPerPod=9))
    assert versions.parse_version(stored, other, record_of(stored)) is None


def test_a_map_that_is_being_deleted_is_no_version_any_more() -> None:
    stored = as_stored(models.pool(), template())
    stored["metadata"]["deletionTimestamp"] = CREATED
    assert parsed(stored) is None


def test_an_older_version_is_what_it_was_and_the_pool_what_it_is() -> None:
    before = template(sessionsPerPod=2, metricsPort=9091, podTemplate=POD_TEMPLATE)
    now = models.pool(sessionsPerPod=8, replicas=7, agent=manifests.own_agent())
    then = versions.with_template(now, before)
    assert (then.spec.sessions_per_pod, then.spec.metrics_port, then.spec.replicas) == (2, 9091, 7)
    assert then.spec.agent.stock
    assert then.spec.pod_template.volumes == POD_TEMPLATE["volumes"]
    assert then.metadata == now.metadata
    back = versions.with_template(then, template(agent=manifests.own_agent()))
    assert back.spec.metrics_port is None, "what a version does not say must not stay from another"


def test_the_longest_agent_fits_and_its_text_is_stored_once() -> None:
    text = "\x01" * 65536  # six bytes each in JSON
    stored = versions.build_version_map(models.pool(), template(agent=agent(instructions=text)))
    sizes = {name: len(value.encode()) for name, value in stored["data"].items()}
    assert sizes["template.json"] < 2000 < sizes["config.json"]
    assert sum(sizes.values()) < 2**20


def test_what_fits_in_no_config_map_is_refused() -> None:
    variables = [{"name": f"V{n}", "value": "x" * 32768} for n in range(40)]
    with pytest.raises(Blocked, match="longer than 1048576 bytes"):
        versions.build_version_map(models.pool(), template(agent=agent(env=variables)))


def test_the_stock_agents_configuration_speaks_of_the_agent_and_holds_no_key() -> None:
    config = versions.build_agent_config(template(sessionsPerPod=2, idleProcesses=5, drainTimeoutSeconds=60))
    assert (config["sessionsPerPod"], config["idleProcesses"], config["drainTimeoutSeconds"]) == (2, 5, 60)
    assert config["agentName"] == "front-desk"
    assert config["stt"] == {
        "provider": "deepgram",
        "model": "nova-3",
        "language": "en-US",
        "endpointingMs": 500,
        "baseUrl": None,
    }
    assert config["turnHandling"]["minInterruptionMs"] == 300
    assert "metricsPort" not in config
    assert "apiKeySecretRef" not in json.dumps(config)


def test_a_provider_of_another_protocol_and_fallbacks_are_configured_without_their_keys() -> None:
    local = {"provider": "openai", "model": "whisper", "baseUrl": "http://speaches/v1"}
    cloud = {"provider": "openai", "apiKeySecretRef": {"name": "providers", "key": "openai"}}
    wanted = template(urls={"openai": "http://gateway/v1"}, agent=agent(stt={**local, "fallbacks": [cloud]}))
    config = versions.build_agent_config(wanted)
    common = {"provider": "openai", "language": "en-US", "endpointingMs": 500}
    assert config["stt"] == {
        **common,
        "model": "whisper",
        "baseUrl": "http://speaches/v1",
        "fallbacks": [{**common, "model": "gpt-4o-mini-transcribe", "baseUrl": "http://gateway/v1"}],
    }
    assert wanted["providerBaseUrls"] == {"openai": "http://gateway/v1"}
    assert "apiKeySecretRef" not in json.dumps(config)


def test_a_realtime_model_is_configured_instead_of_the_three() -> None:
    spec = {"instructions": "x", "realtime": {**agent()["llm"], "voice": "cedar"}}
    config = versions.build_agent_config(template(agent=spec, urls={"openai": "http://gateway/v1"}))
    assert not {"stt", "llm", "tts", "turnHandling"} & config.keys()
    assert config["realtime"] == {
        "provider": "openai",
        "model": "gpt-realtime",
        "voice": "cedar",
        "endpointingMs": 500,
        "baseUrl": "http://gateway/v1",
    }


def test_a_plugin_is_configured_with_the_names_of_its_secrets_alone() -> None:
    secret = {"name": "api_secret", "secretKeyRef": {"name": "voices", "key": "it"}}
    plugin = {"package": "livekit.plugins.x", "class": "Y", "options": {"speed": 1.5}, "secretOptions": [secret]}
    wanted = template(agent=agent(tts={"provider": "plugin", "plugin": plugin}))
    config = versions.build_agent_config(wanted)
    assert config["tts"]["plugin"] == {**plugin, "secretOptions": ["api_secret"]}
    assert "model" not in config["tts"]
    assert "voices" not in json.dumps(config)
    other = {**plugin, "options": {"speed": 2}}
    assert revision(agent=agent(tts={"provider": "plugin", "plugin": other})) != versions.revision(wanted)


def test_what_an_older_stock_image_does_not_know_is_configured_only_where_it_is_written() -> None:
    assert (
        not {"vad", "audioOnly", "noiseSuppression", "limits", "neverSay", "promptTemplates"}
        & versions.build_agent_config(template()).keys()
    )
    spec = agent(vad={"activationThreshold": 0.7}, audioOnly=False)
    config = versions.build_agent_config(template(agent=spec))
    assert config["audioOnly"] is False
    assert config["vad"] == {
        "minSpeechDurationMs": 50,
        "minSilenceDurationMs": None,
        "activationThreshold": 0.7,
    }


def test_agents_that_have_no_time_are_given_the_least_they_take() -> None:
    assert versions.build_agent_config(template(drainTimeoutSeconds=0))["drainTimeoutSeconds"] == 1


def test_another_configuration_of_the_same_template_is_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data of a ConfigMap that is there cannot change."""
    before = revision(agent=manifests.own_agent(runner="None"))
    monkeypatch.setattr(versions, "build_agent_config", lambda wanted: {"name": wanted["agentName"]})
    assert revision(agent=manifests.own_agent(runner="None")) != before


def test_an_own_agents_configuration_is_only_what_the_runner_applies() -> None:
    config = versions.build_agent_config(template(agent=manifests.own_agent(), metricsPort=9091))
    assert config == {
        "agentName": "front-desk",
        "sessionsPerPod": 4,
        "idleProcesses": 3,
        "drainTimeoutSeconds": 3600,
        "metricsPort": 9091,
    }


def test_base_urls_of_the_operator_stand_in_for_those_left_out() -> None:
    own = agent(tts={**agent()["tts"], "baseUrl": "http://mine/v1"})
    config = versions.build_agent_config(template(urls={"deepgram": "http://gateway/v1"}, agent=own))
    assert config["stt"]["baseUrl"] == "http://gateway/v1"
    assert config["tts"]["baseUrl"] == "http://mine/v1"
    assert config["llm"]["baseUrl"] is None


@pytest.mark.parametrize(
    ("spec", "image"),
    [
        ({}, "agent:1"),
        ({"agent": agent(image="mirror/agent:1")}, "mirror/agent:1"),
        ({"agent": manifests.own_agent()}, "registry.example.com/agent:1.2.3"),
    ],
)
def test_a_version_knows_its_image(spec: dict[str, Any], image: str) -> None:
    found = parsed(as_stored(models.pool(**spec), template(**spec)))
    assert found is not None
    assert found.image == image


def test_only_a_canary_has_a_deployment() -> None:
    assert versions.deployment_of("stable", "0123456789") == ""
    assert versions.deployment_of("canary", "0123456789abc") == "canary-0123456789"
    assert versions.canary_deployment("0123456789") == "canary-0123456789"
