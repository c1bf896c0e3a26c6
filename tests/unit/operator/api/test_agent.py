"""Which agent runs in a pool's pods, and what of `spec.agent` is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.agent import AgentSpec
from livekit_operator.api.voiceagentpool import VoiceAgentPoolSpec
from tests.fakes import manifests
from tests.unit.operator.api.free_values import DEEP, LARGE

STOCK: dict[str, Any] = manifests.pool()["spec"]["agent"]
KEY = {"apiKeySecretRef": {"name": "providers", "key": "openai"}}


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


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({**STOCK, "llm": {**KEY, "provider": "magic"}}, "provider", id="an unknown provider"),
        pytest.param(manifests.own_agent(runner="Magic"), "runner", id="an unknown runner"),
        pytest.param(
            {**STOCK, "stt": {**KEY, "baseUrl": "ftp://example.com"}}, "baseUrl", id="no HTTP and no WebSocket"
        ),
        pytest.param({**STOCK, "tts": {**KEY, "sampleRate": 44100}}, "sampleRate", id="a rate that no voice has"),
        pytest.param({**STOCK, "proxy": {"httpsProxy": "socks5://proxy"}}, "httpsProxy", id="a proxy of another kind"),
        pytest.param({**STOCK, "proxy": {"noProxy": ["a,b"]}}, "noProxy", id="two hosts in one"),
        pytest.param(manifests.own_agent(env=[{"name": "1A"}]), "name", id="no name of a variable"),
    ],
)
def test_a_wrong_value_is_named(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        AgentSpec.model_validate(spec)


@pytest.mark.parametrize("value", [DEEP, LARGE], ids=["deep", "large"])
def test_free_fields_of_an_agent_are_bounded(value: dict[str, Any]) -> None:
    spec = manifests.pool()["spec"]
    spec["agent"]["env"] = [{"name": "A", "valueFrom": value}]
    with pytest.raises(ValidationError) as caught:
        VoiceAgentPoolSpec.model_validate(spec)
    assert caught.value.errors()[0]["loc"] == ("agent", "env", 0, "valueFrom")
