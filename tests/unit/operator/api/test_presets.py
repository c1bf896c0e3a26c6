"""What left-out fields are by the preset, and that no pool without one changes."""

from pathlib import Path
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from livekit_operator.api import presets
from livekit_operator.api.agent import AgentSpec
from livekit_operator.api.base import ApiModel
from livekit_operator.api.providers import Realtime, SpeechToText
from livekit_operator.api.turns import TurnHandling, VoiceActivityDetection
from tests.fakes import manifests

KEY = {"apiKeySecretRef": {"name": "providers", "key": "it"}}
MODELS: dict[str, type[ApiModel]] = {
    "stt": SpeechToText,
    "realtime": Realtime,
    "vad": VoiceActivityDetection,
    "turn_handling": TurnHandling,
}


def spec(**changes: Any) -> AgentSpec:
    return AgentSpec.model_validate({**manifests.pool()["spec"]["agent"], **changes})


def silence(agent: AgentSpec) -> tuple[Any, ...]:
    """Return who ends a turn, and the milliseconds after which who does what."""
    assert agent.stt
    turns = agent.turns
    heard = agent.vad.min_silence_duration_ms if agent.vad else None
    return (
        turns.detection,
        agent.stt.endpointing_ms,
        heard,
        turns.min_endpointing_delay_ms,
        turns.max_endpointing_delay_ms,
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("stt", 500, None, 500, 3000)),
        ({"preset": "Balanced"}, ("stt", 500, None, 500, 3000)),
        ({"preset": "Fast"}, ("vad", 100, 300, 400, 2000)),
        ({"preset": "Thorough"}, ("stt", 1000, None, 1200, 6000)),
        ({"turnHandling": {"detection": "semantic"}}, ("semantic", 100, 250, 300, 2500)),
        ({"turnHandling": {"detection": "semantic"}, "preset": "Balanced"}, ("semantic", 100, 250, 300, 2500)),
        ({"turnHandling": {"detection": "semantic"}, "preset": "Fast"}, ("semantic", 100, 250, 300, 1500)),
        ({"turnHandling": {"detection": "semantic"}, "preset": "Thorough"}, ("semantic", 300, 400, 600, 4000)),
        ({"turnHandling": {"detection": "stt"}, "preset": "Fast"}, ("stt", 100, 300, 400, 2000)),
        ({"turnHandling": {"minEndpointingDelayMs": 700}, "preset": "Fast"}, ("vad", 100, 300, 700, 2000)),
        ({"vad": {"minSilenceDurationMs": 450}, "preset": "Fast"}, ("vad", 100, 450, 400, 2000)),
        ({"stt": {**KEY, "endpointingMs": 25}, "preset": "Thorough"}, ("stt", 25, None, 1200, 6000)),
        ({"turnHandling": {"minEndpointingDelayMs": 5000}}, ("stt", 500, None, 5000, 5000)),
        ({"turnHandling": {"maxEndpointingDelayMs": 100}}, ("stt", 500, None, 100, 100)),
        ({"turnHandling": {"minEndpointingDelayMs": 0, "maxEndpointingDelayMs": 9}}, ("stt", 500, None, 0, 9)),
    ],
)
def test_a_field_that_is_given_counts_and_the_preset_says_the_others(
    changes: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    agent = spec(**changes)
    assert silence(agent) == expected
    again = AgentSpec.model_validate(agent.model_dump(by_alias=True, exclude_none=True))
    assert silence(again) == expected, "a version that is read again must mean the same"


def test_fallbacks_and_realtime_models_have_the_presets_values_too() -> None:
    heard = spec(preset="Fast", stt={**KEY, "fallbacks": [KEY, {**KEY, "endpointingMs": 40}]}).stt
    assert heard
    assert [one.endpointing_ms for one in heard.fallbacks or ()] == [100, 40]
    for preset, milliseconds in ((None, 500), ("Fast", 300), ("Thorough", 1200)):
        agent = AgentSpec.model_validate({"instructions": "x", "realtime": KEY, "preset": preset})
        assert agent.realtime
        assert agent.realtime.endpointing_ms == milliseconds
        assert (agent.vad, agent.turn_handling) == (None, None)


def test_nothing_appears_in_a_pool_that_has_no_preset() -> None:
    """It would be another version, and every pod would be replaced by an upgrade."""
    agent = spec()
    assert (agent.vad, agent.turn_handling, agent.preset) == (None, None, None)
    assert agent.turns.preemptive_speech is None
    own = AgentSpec.model_validate(manifests.own_agent())
    assert (own.vad, own.turn_handling, own.stt) == (None, None, None)


def test_values_count_as_left_out() -> None:
    written = spec(preset="Fast").model_dump(by_alias=True, exclude_unset=True)
    assert set(written) == {*manifests.pool()["spec"]["agent"], "preset"}
    assert "endpointingMs" not in written["stt"]


def test_the_values_of_a_model_are_not_changed_behind_its_back() -> None:
    turns = TurnHandling()
    AgentSpec(**{"stt": KEY, "preset": "Fast", "turn_handling": turns})  # type: ignore[arg-type]  # noqa: PIE804
    assert turns.detection is None


def test_every_value_is_one_that_the_field_takes() -> None:
    for preset in presets.PRESETS:
        for detection in (None, "semantic"):
            for part, fields in presets.values(preset, detection).items():
                given = {to_camel(name): value for name, value in fields.items()}
                parsed = MODELS[part].model_validate({**KEY, **given})
                assert {name: getattr(parsed, name) for name in fields} == fields
                if silent := fields.get("min_silence_duration_ms"):
                    assert detection is None or silent >= presets.SHORTEST_SEMANTIC_SILENCE_MS


def test_the_presets_are_those_that_the_field_takes() -> None:
    for preset in presets.PRESETS:
        assert spec(preset=preset).preset == preset
    assert presets.USUAL in presets.PRESETS
    assert presets.SEMANTIC.keys() == presets.PRESETS.keys()


def shown(value: Any) -> str:
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_the_table_of_the_docs_has_these_values() -> None:
    rows = [
        f"| `{'.'.join(map(to_camel, field.split('.')))}` | {' | '.join(map(shown, values))} |"
        for field, values in presets.rows()
    ]
    page = (Path(__file__).parents[4] / "docs/pools.md").read_text()
    begin, end = "<!-- presets: test_presets.py has its rows -->\n", "<!-- /presets -->"
    found = page.partition(begin)[2].partition(end)[0].strip().splitlines()[2:]
    assert found == rows, "\n".join(rows)
