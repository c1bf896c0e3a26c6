"""What the API server cannot check of free fields, the models do, and name the field."""

from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.bounds import MOST_FREE_BYTES, MOST_FREE_VALUES, MOST_LEVELS, bounded
from livekit_operator.api.livekitserver import LiveKitServerSpec
from livekit_operator.api.voiceagentpool import VoiceAgentPoolSpec
from tests.fakes import manifests


def nested(levels: int, *, lists: bool = False) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if lists else {"a": value}
    return value


def test_what_is_within_bounds_stays_as_it_is() -> None:
    for value in (nested(MOST_LEVELS - 1), nested(MOST_LEVELS - 1, lists=True), {"a": "x" * (MOST_FREE_BYTES - 8)}, {}):
        assert bounded(value) is value


@pytest.mark.parametrize("levels", [MOST_LEVELS, 300, 1000, 100_000])
@pytest.mark.parametrize("lists", [True, False])
def test_what_is_deeper_is_refused(levels: int, lists: bool) -> None:
    with pytest.raises(ValueError, match=f"nested deeper than {MOST_LEVELS} levels"):
        bounded(nested(levels, lists=lists))


def test_what_is_longer_is_refused() -> None:
    with pytest.raises(ValueError, match=f"longer than {MOST_FREE_BYTES} bytes"):
        bounded({"a": "x" * MOST_FREE_BYTES})


def test_what_has_more_values_is_refused() -> None:
    assert bounded([{}] * (MOST_FREE_VALUES - 1))
    with pytest.raises(ValueError, match=f"more than {MOST_FREE_VALUES} values"):
        bounded([{}] * MOST_FREE_VALUES)


DEEP = {"key": nested(MOST_LEVELS)}
LARGE = {"key": "x" * MOST_FREE_BYTES}


@pytest.mark.parametrize("value", [DEEP, LARGE], ids=["deep", "large"])
@pytest.mark.parametrize(
    "path",
    [
        "extraConfig",
        "podTemplate.affinity",
        "podTemplate.volumes.0",
        "podTemplate.volumeMounts.0",
        "podTemplate.tolerations.0",
        "podTemplate.topologySpreadConstraints.0",
    ],
)
def test_free_fields_of_a_server_are_bounded(path: str, value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        LiveKitServerSpec.model_validate(_at(path, value))
    assert ".".join(map(str, caught.value.errors()[0]["loc"])) == path


def test_many_of_a_free_list_are_bounded_together() -> None:
    volumes = [{"name": "v", "x": "x" * (MOST_FREE_BYTES // 4)} for _ in range(5)]
    with pytest.raises(ValidationError) as caught:
        LiveKitServerSpec.model_validate({"podTemplate": {"volumes": volumes}})
    assert caught.value.errors()[0]["loc"] == ("podTemplate", "volumes")


@pytest.mark.parametrize("value", [DEEP, LARGE], ids=["deep", "large"])
def test_free_fields_of_an_agent_are_bounded(value: dict[str, Any]) -> None:
    spec = manifests.pool()["spec"]
    spec["agent"]["env"] = [{"name": "A", "valueFrom": value}]
    with pytest.raises(ValidationError) as caught:
        VoiceAgentPoolSpec.model_validate(spec)
    assert caught.value.errors()[0]["loc"] == ("agent", "env", 0, "valueFrom")


def _at(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = [value] if name == "0" else {name: value}
    assert isinstance(value, dict)
    return value
