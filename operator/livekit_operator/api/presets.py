"""What fields of the stock agent are when they are left out: by `agent.preset` and who ends the turns.

The one place of these values; docs/pools.md shows them. The schema has no defaults for these fields: the API server
would write them, and they would count as given.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Values = Mapping[str, Mapping[str, Any]]
"""Part of `spec.agent` -> field -> value, by the models' names; times in milliseconds."""

# What there is without a preset.
USUAL: Final = "Balanced"
# A turn that only silence ends takes at least that silence. Those of the speech-to-text (`stt`) wait for the longer of
# `endpointing_ms` and `min_endpointing_delay_ms`, those of voice activity (`vad`) for the longer of
# `min_silence_duration_ms` and that delay, while the speech-to-text has written its words after `endpointing_ms`.
PRESETS: Final[Mapping[str, Values]] = {
    "Fast": {
        "stt": {"endpointing_ms": 100},
        "realtime": {"endpointing_ms": 300},
        "vad": {"min_speech_duration_ms": 50, "min_silence_duration_ms": 300, "activation_threshold": 0.5},
        "turn_handling": {
            "detection": "vad",
            "min_endpointing_delay_ms": 400,
            "max_endpointing_delay_ms": 2000,
            "preemptive_generation": True,
            "preemptive_speech": True,
            "min_interruption_ms": 300,
            "false_interruption_timeout_ms": 2000,
        },
    },
    "Balanced": {
        "stt": {"endpointing_ms": 500},
        "realtime": {"endpointing_ms": 500},
        "vad": {"min_speech_duration_ms": 50, "activation_threshold": 0.5},
        "turn_handling": {
            "detection": "stt",
            "min_endpointing_delay_ms": 500,
            "max_endpointing_delay_ms": 3000,
            "preemptive_generation": True,
            "min_interruption_ms": 300,
            "false_interruption_timeout_ms": 4000,
        },
    },
    "Thorough": {
        "stt": {"endpointing_ms": 1000},
        "realtime": {"endpointing_ms": 1200},
        "vad": {"min_speech_duration_ms": 100, "activation_threshold": 0.5},
        "turn_handling": {
            "detection": "stt",
            "min_endpointing_delay_ms": 1200,
            "max_endpointing_delay_ms": 6000,
            "preemptive_generation": True,
            "min_interruption_ms": 500,
            "false_interruption_timeout_ms": 4000,
        },
    },
}
# Instead of those, where a model tells ends of turns from pauses: it is asked after 200 ms of silence, and only a turn
# that it calls unfinished waits for the longer delay. livekit-agents has delays of 300 and 2500 ms for it
# (voice/turn.py, _STREAMING_ENDPOINTING_DEFAULTS), and takes no silence below 250 ms (voice/audio_recognition.py).
SEMANTIC: Final[Mapping[str, Values]] = {
    "Fast": {
        "vad": {"min_silence_duration_ms": 250},
        "turn_handling": {
            "detection": "semantic",
            "min_endpointing_delay_ms": 300,
            "max_endpointing_delay_ms": 1500,
        },
    },
    "Balanced": {
        "stt": {"endpointing_ms": 100},
        "vad": {"min_silence_duration_ms": 250},
        "turn_handling": {
            "detection": "semantic",
            "min_endpointing_delay_ms": 300,
            "max_endpointing_delay_ms": 2500,
        },
    },
    "Thorough": {
        "stt": {"endpointing_ms": 300},
        "vad": {"min_silence_duration_ms": 400},
        "turn_handling": {
            "detection": "semantic",
            "min_endpointing_delay_ms": 600,
            "max_endpointing_delay_ms": 4000,
        },
    },
}
SHORTEST_SEMANTIC_SILENCE_MS: Final = 250


def values(preset: str | None, detection: str | None = None) -> Values:
    """Return what is meant by fields that are left out, beside a detection that is given."""
    chosen = PRESETS[preset or USUAL]
    if detection != "semantic":
        return chosen
    other = SEMANTIC[preset or USUAL]
    return {part: {**fields, **other.get(part, {})} for part, fields in chosen.items()}


def left_out(part: str, given: Mapping[str, Any], preset: str | None, detection: str | None) -> dict[str, Any]:
    """Return the fields of a part that are not given, None being nothing.

    Where only one of the endpointing delays is given, and is on the wrong side of the other, both are that one.
    """
    found = {name: value for name, value in values(preset, detection)[part].items() if given.get(name) is None}
    shortest, longest = "min_endpointing_delay_ms", "max_endpointing_delay_ms"
    if shortest in found and given.get(longest) is not None:
        found[shortest] = min(found[shortest], given[longest])
    if longest in found and given.get(shortest) is not None:
        found[longest] = max(found[longest], given[shortest])
    return found


def rows() -> Iterator[tuple[str, list[Any]]]:
    """Yield each field, as `part.field`, with its values under the presets, and under them where a model ends turns.

    A value that nothing gives is None.
    """
    columns = [values(preset, detection) for detection in (None, "semantic") for preset in PRESETS]
    names = {(part, name): None for column in columns for part, fields in column.items() for name in fields}
    for part, name in names:
        yield f"{part}.{name}", [column[part].get(name) for column in columns]
