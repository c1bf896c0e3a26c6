"""What a conversation is held to, as far as its models say."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from livekit_operator.api.conversation import ConversationLimits, NeverSaid


def test_words_are_there_without_being_written() -> None:
    limits = ConversationLimits(max_call_seconds=600)
    assert all((limits.max_call_words, limits.warn_words, limits.max_silence_words))
    assert (limits.warn_before_seconds, limits.max_silence_seconds) == (None, None)
    assert ConversationLimits.model_validate({"maxCallSeconds": 600, "maxCallWords": ""}).max_call_words == ""


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"maxCallSeconds": 9}, "maxCallSeconds"),
        ({"maxCallSeconds": 86401}, "maxCallSeconds"),
        ({"warnBeforeSeconds": 4}, "warnBeforeSeconds"),
        ({"maxSilenceSeconds": 4}, "maxSilenceSeconds"),
        ({"maxCallWords": "x" * 1025}, "maxCallWords"),
    ],
)
def test_limits_are_bounded(limits: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        ConversationLimits.model_validate(limits)


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("darn", True),
        ("Acme Corp", True),
        ("C++", True),
        ("敏感词", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        (" ", False),
        ("darn ", False),
        (" darn", False),
        ("da\nrn", False),
    ],
)
def test_which_words_may_be_listed(words: str, taken: bool) -> None:
    adapter = TypeAdapter[str](NeverSaid)
    if taken:
        assert adapter.validate_python(words) == words
    else:
        with pytest.raises(ValidationError):
            adapter.validate_python(words)
