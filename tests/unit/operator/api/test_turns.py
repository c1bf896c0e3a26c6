"""Whose turn it is: the bounds of what may be said of it, and what the schema leaves to the presets."""

from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.base import ApiModel
from livekit_operator.api.turns import TurnHandling, VoiceActivityDetection
from livekit_operator.api.writers.crd import structural


@pytest.mark.parametrize(
    ("kind", "field", "taken", "refused"),
    [
        (VoiceActivityDetection, "minSpeechDurationMs", (0, 10000), (-1, 10001)),
        (VoiceActivityDetection, "minSilenceDurationMs", (10, 10000), (9, 10001)),
        (TurnHandling, "minEndpointingDelayMs", (0, 30000), (-1, 30001)),
        (TurnHandling, "maxEndpointingDelayMs", (0, 60000), (-1, 60001)),
        (TurnHandling, "minInterruptionMs", (0, 10000), (-1, 10001)),
        (TurnHandling, "falseInterruptionTimeoutMs", (0, 60000), (-1, 60001)),
        (TurnHandling, "detection", ("stt", "vad", "semantic"), ("magic", "")),
    ],
)
def test_values_have_bounds(kind: type[ApiModel], field: str, taken: tuple[Any, ...], refused: tuple[Any, ...]) -> None:
    for value in taken:
        assert kind.model_validate({field: value}).model_dump(by_alias=True)[field] == value
    for value in refused:
        with pytest.raises(ValidationError, match=field):
            kind.model_validate({field: value})


@pytest.mark.parametrize("kind", [VoiceActivityDetection, TurnHandling])
def test_the_api_server_writes_nothing_that_would_overrule_a_preset(kind: type[ApiModel]) -> None:
    written = {name: node["default"] for name, node in structural(kind)["properties"].items() if "default" in node}
    assert written == (
        {} if kind is VoiceActivityDetection else {"allowInterruptions": True, "alignedTranscript": True}
    )
