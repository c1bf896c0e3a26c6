"""Settings come from the environment, and a wrong one is named."""

import pytest
from pydantic import ValidationError

from livekit_operator.settings import Allowed, Settings, load_settings


def test_defaults() -> None:
    settings = load_settings({"LIVEKIT_OPERATOR_AGENT_IMAGE": "agent:1", "PATH": "/bin"})
    assert settings == Settings(agent_image="agent:1")
    assert (settings.http_port, settings.liveness_port, settings.webhook_url) == (8080, 8090, None)


def test_every_setting_has_a_variable() -> None:
    settings = load_settings(
        {
            "LIVEKIT_OPERATOR_AGENT_IMAGE": "agent:1",
            "LIVEKIT_OPERATOR_SERVER_IMAGE": "mirror/livekit-server",
            "LIVEKIT_OPERATOR_REDIS_IMAGE": "mirror/redis:7",
            "LIVEKIT_OPERATOR_NAMESPACE": "voice-system",
            "LIVEKIT_OPERATOR_WEBHOOK_URL": "http://operator.svc:8080",
            "LIVEKIT_OPERATOR_PROVIDER_BASE_URLS": '{"openai": "http://gateway/v1"}',
            "LIVEKIT_OPERATOR_OMIT_IDS": "true",
            "LIVEKIT_OPERATOR_ALLOWED": '{"hostNetwork": false, "hosts": {"media": ["*.example.com"]}}',
            "LIVEKIT_OPERATOR_HTTP_PORT": "18080",
            "LIVEKIT_OPERATOR_LIVENESS_PORT": "18090",
            "LIVEKIT_OPERATOR_WORKERS": "8",
            "LIVEKIT_OPERATOR_SERVER_POLL_SECONDS": "2.5",
            "LIVEKIT_OPERATOR_POOL_POLL_SECONDS": "1",
            "LIVEKIT_OPERATOR_CLOCK_LOOK_SECONDS": "30",
        }
    )
    assert settings.model_dump() == {
        "agent_image": "agent:1",
        "server_image": "mirror/livekit-server",
        "redis_image": "mirror/redis:7",
        "namespace": "voice-system",
        "webhook_url": "http://operator.svc:8080",
        "provider_base_urls": {"openai": "http://gateway/v1"},
        "omit_ids": True,
        "allowed": Allowed(host_network=False, hosts={"media": ("*.example.com",)}).model_dump(),
        "http_port": 18080,
        "liveness_port": 18090,
        "workers": 8,
        "server_poll_seconds": 2.5,
        "pool_poll_seconds": 1.0,
        "clock_look_seconds": 30.0,
    }


def test_an_empty_variable_is_none() -> None:
    settings = load_settings({"LIVEKIT_OPERATOR_AGENT_IMAGE": "agent:1", "LIVEKIT_OPERATOR_WEBHOOK_URL": ""})
    assert settings.webhook_url is None


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        pytest.param({}, "agent_image", id="the only one without a default"),
        pytest.param({"WORKERS": "0"}, "workers", id="no workers"),
        pytest.param({"WORKERS": "many"}, "workers", id="not a number"),
        pytest.param({"SERVER_POLL_SECONDS": "0"}, "server_poll_seconds", id="asked without a pause"),
        pytest.param({"PROVIDER_BASE_URLS": "http://gateway"}, "Invalid JSON", id="not JSON"),
        pytest.param({"PROVIDER_BASE_URLS": '{"openai": "http://gateway/v1?a=b"}'}, "match", id="a URL with a query"),
        pytest.param({"PROVIDER_BASE_URLS": "[]"}, "dict", id="not an object"),
    ],
)
def test_a_wrong_setting_is_named(environment: dict[str, str], named: str) -> None:
    given = {"AGENT_IMAGE": "agent:1", **environment} if environment else {}
    with pytest.raises(ValidationError, match=named):
        load_settings({f"LIVEKIT_OPERATOR_{key}": value for key, value in given.items()})
