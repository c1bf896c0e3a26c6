"""What a user writes is understood, defaults included, and what is wrong is not."""

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from livekit_operator.api.kinds import BY_KIND
from livekit_operator.api.livekitserver import LiveKitServer, LiveKitServerSpec
from livekit_operator.api.meetingroom import MeetingRoom, MeetingRoomSpec
from livekit_operator.api.voiceagentpool import VoiceAgentPool, VoiceAgentPoolSpec
from tests.fakes import manifests

# The three together, nothing else needed.
EXAMPLE = """
kind: LiveKitServer
metadata: {name: voice, namespace: team, uid: a}
spec:
  version: v1.13.5
  replicas: 1
  media:
    exposure: HostNetwork
    udp: {portRange: {start: 50100, end: 50200}}
    tcpPort: 7881
  signal: {port: 7880, externalUrl: wss://voice.example.com}
---
kind: VoiceAgentPool
metadata: {name: front-desk, namespace: team, uid: b}
spec:
  serverRef: {name: voice}
  agent:
    instructions: You answer the phone of a dental practice. Be brief.
    greeting: Hello, how can I help?
    stt: {provider: deepgram, model: nova-3, language: en-US, endpointingMs: 500,
          apiKeySecretRef: {name: providers, key: deepgram}}
    llm: {provider: openai, model: gpt-4o-mini, apiKeySecretRef: {name: providers, key: openai}}
    tts: {provider: deepgram, model: aura-2-andromeda-en, sampleRate: 24000,
          apiKeySecretRef: {name: providers, key: deepgram}}
  sessionsPerPod: 4
  idleProcesses: 3
  autoscaling: {minReplicas: 1, maxReplicas: 10, bufferSessions: 4}
---
kind: MeetingRoom
metadata: {name: support-42, namespace: team, uid: c}
spec:
  serverRef: {name: voice}
  maxParticipants: 10
  agents: [{poolRef: {name: front-desk}, dispatch: OnFirstParticipant}]
  tokens:
    - {identity: alice, role: Participant}
    - {identity: lobby, role: Viewer, ttlSeconds: 3600, secretName: lobby-token}
"""


def test_the_example_is_understood() -> None:
    parsed = [BY_KIND[doc["kind"]].model.model_validate(doc) for doc in yaml.safe_load_all(EXAMPLE)]
    server, pool, room = parsed
    assert isinstance(server, LiveKitServer)
    assert isinstance(pool, VoiceAgentPool)
    assert isinstance(room, MeetingRoom)
    assert server.spec.media.udp is not None
    assert server.spec.media.udp.port_range is not None
    assert server.spec.media.udp.port_range.end == 50200
    assert server.spec.signal.external_url == "wss://voice.example.com"
    assert pool.spec.agent.stt is not None
    assert pool.spec.agent.stt.api_key_secret_ref.key == "deepgram"
    assert pool.spec.autoscaling is not None
    assert [token.role for token in room.spec.tokens] == ["Participant", "Viewer"]
    assert room.key == ("team", "support-42")


def test_only_numbers_that_matter_differ_from_the_defaults() -> None:
    """The example spells out the defaults: leaving them out means the same."""
    _, written, _ = yaml.safe_load_all(EXAMPLE)
    short = VoiceAgentPoolSpec.model_validate({**manifests.pool()["spec"], "autoscaling": {}})
    assert VoiceAgentPoolSpec.model_validate(written["spec"]) == short


@pytest.mark.parametrize(
    ("agent", "stock", "injected"),
    [
        (manifests.pool()["spec"]["agent"], True, False),
        ({**manifests.pool()["spec"]["agent"], "image": "mirror/agent:1"}, True, False),
        (manifests.own_agent(), False, True),
        (manifests.own_agent(runner="None"), False, False),
    ],
)
def test_which_agent_runs(agent: dict[str, Any], stock: bool, injected: bool) -> None:
    parsed = VoiceAgentPoolSpec.model_validate({"serverRef": {"name": "voice"}, "agent": agent}).agent
    assert (parsed.stock, parsed.injected) == (stock, injected)


def test_numbers_and_percentages_stay_what_they_are() -> None:
    for value in (1, "25%", "100%"):
        spec = VoiceAgentPoolSpec.model_validate({**manifests.pool()["spec"], "rollout": {"maxSurge": value}})
        assert spec.rollout.max_surge == value


def test_the_least_a_user_must_write() -> None:
    assert LiveKitServerSpec.model_validate({}).media.exposure == "HostNetwork"
    room = MeetingRoomSpec.model_validate({"serverRef": {"name": "voice"}})
    assert (room.kind, room.persistent, room.tokens, room.agents) == ("Meeting", True, [], [])


def test_a_newer_crds_fields_do_not_stop_an_older_operator() -> None:
    assert LiveKitServerSpec.model_validate({"fromTheFuture": {"a": 1}}) == LiveKitServerSpec()


@pytest.mark.parametrize(
    ("model", "spec", "field"),
    [
        pytest.param(MeetingRoomSpec, {}, "serverRef", id="no server"),
        pytest.param(
            MeetingRoomSpec, {"serverRef": {"name": "v"}, "tokens": [{"identity": ""}]}, "identity", id="empty identity"
        ),
        pytest.param(
            MeetingRoomSpec, {"serverRef": {"name": "v"}, "tokens": [{"identity": "a", "role": "Boss"}]}, "role",
            id="unknown role",
        ),
        pytest.param(
            MeetingRoomSpec, {"serverRef": {"name": "v"}, "emptyTimeoutSeconds": -1}, "emptyTimeoutSeconds",
            id="negative timeout",
        ),
        *(
            pytest.param(MeetingRoomSpec, {"serverRef": {"name": "v"}, **spec}, field, id=name)
            for name, spec, field in (
                ("no life", {"tokens": [{"identity": "a", "ttlSeconds": 0}]}, "ttlSeconds"),
                ("a life of years", {"tokens": [{"identity": "a", "ttlSeconds": 10**9}]}, "ttlSeconds"),
                ("an unknown source", {"tokens": [{"identity": "a", "grants": {"canPublishSources": ["x"]}}]},
                 "canPublishSources"),
                ("more tokens than the maximum", {"tokens": [{"identity": f"{n}"} for n in range(101)]}, "tokens"),
                ("more guests than the maximum", {"generateTokens": {"count": 501}}, "count"),
                ("a control character", {"generateTokens": {"count": 1, "identityPrefix": "\t"}}, "identityPrefix"),
                ("a moment without a zone", {"expiresAt": "2026-03-01T12:00:00"}, "expiresAt"),
                ("an unknown kind", {"kind": "Party"}, "kind"),
                ("a key that none can be", {"tokens": [{"identity": "a", "secret": {"keys": {"token": "a b"}}}]},
                 "token"),
            )
        ),
        pytest.param(MeetingRoomSpec, {"serverRef": {"name": "V_V"}}, "serverRef", id="a name that none can have"),
        pytest.param(LiveKitServerSpec, {"signal": {"externalUrl": "https://x"}}, "externalUrl", id="not a WebSocket"),
        pytest.param(LiveKitServerSpec, {"replicas": 101}, "replicas", id="too many servers"),
        pytest.param(LiveKitServerSpec, {"version": "latest"}, "version", id="a version that moves"),
        pytest.param(LiveKitServerSpec, {"media": {"tcpPort": 0}}, "tcpPort", id="no port"),
        *(
            pytest.param(VoiceAgentPoolSpec, {**manifests.pool()["spec"], **spec}, field, id=name)
            for name, spec, field in (
                ("a surge of nothing", {"rollout": {"maxSurge": "0%"}}, "maxSurge"),
                ("no surge", {"rollout": {"maxSurge": 0}}, "maxSurge"),
                ("more than any buffer", {"autoscaling": {"bufferSessions": "1001%"}}, "bufferSessions"),
                ("a canary for all", {"rollout": {"canary": {"weight": 100}}}, "weight"),
                ("an hour that no day has",
                 {"autoscaling": {"schedules": [{"start": "24:00", "end": "01:00", "minReplicas": 1}]}}, "start"),
                ("a day that no week has",
                 {"autoscaling": {"schedules": [{"days": ["Mon"], "start": "02:00", "end": "01:00"}]}}, "days"),
                ("an unknown provider",
                 {"agent": {**manifests.pool()["spec"]["agent"], "llm": {"provider": "magic"}}}, "provider"),
                ("a prefix of another namespace", {"roomPrefix": "team-b/voice-"}, "roomPrefix"),
                ("a prefix of every room", {"roomPrefix": ""}, "roomPrefix"),
                ("an unknown runner", {"agent": manifests.own_agent(runner="Magic")}, "runner"),
            )
        ),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(model: Any, spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        model.model_validate(spec)
