"""Free configuration is bounded, and what livekit-server would not take is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.base import ApiModel
from livekit_operator.api.livekitserver import LiveKitServerSpec
from livekit_operator.api.server.config import Agents, Codec, Logging, NodeSelection, Webhooks
from tests.unit.operator.api.free_values import DEEP, LARGE


@pytest.mark.parametrize("value", [DEEP, LARGE], ids=["deep", "large"])
def test_free_configuration_is_bounded(value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        LiveKitServerSpec.model_validate({"extraConfig": value})
    assert caught.value.errors()[0]["loc"] == ("extraConfig",)


@pytest.mark.parametrize(
    ("model", "written", "field"),
    [
        pytest.param(Codec, {"mime": "opus"}, "mime", id="no MIME type"),
        pytest.param(Webhooks, {"urls": ["https://user:pass@example.com"]}, "urls", id="credentials in a URL"),
        pytest.param(Webhooks, {"urls": ["wss://example.com"]}, "urls", id="a URL that nothing is posted to"),
        pytest.param(Webhooks, {"excludeEvents": ["room_opened"]}, "excludeEvents", id="an unknown event"),
        pytest.param(NodeSelection, {"cpuLoadLimit": 1.1}, "cpuLoadLimit", id="more than the whole CPU"),
        pytest.param(Agents, {"targetLoad": 0}, "targetLoad", id="a load that every worker has"),
    ],
)
def test_a_wrong_value_is_named(model: type[ApiModel], written: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        model.model_validate(written)


def test_the_format_of_logs_is_called_json() -> None:
    assert not Logging.model_validate({"json": False}).json_format
    assert Logging(json_format=False).model_dump(by_alias=True)["json"] is False
