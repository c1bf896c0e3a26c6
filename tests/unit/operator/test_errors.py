"""What an error makes of itself for a condition: a reason, what to do, and when to look again."""

import pytest

from livekit_operator import reasons
from livekit_operator.errors import (
    Blocked,
    KubernetesError,
    NotOwned,
    OperatorError,
    Problem,
    RoomUnanswered,
    ServerRefused,
    ServerUnreachable,
)

NO_KEYS = Problem(reasons.SECRET_NOT_FOUND, "Secret keys does not exist: create it.")


def test_problems_are_the_same_whenever_they_are_looked_at_again() -> None:
    assert Problem(NO_KEYS.reason, NO_KEYS.message, retry_after=5.0) == NO_KEYS
    assert Problem(NO_KEYS.reason, "Secret other does not exist: create it.") != NO_KEYS


def test_who_is_blocked_says_why() -> None:
    error = Blocked(NO_KEYS)
    assert error.problem is NO_KEYS
    assert str(error) == NO_KEYS.message


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (
            NotOwned("Secret", "team", "keys", "it has no owner"),
            Problem(
                reasons.NOT_OWNED,
                "Secret team/keys exists and is not owned by this resource: it has no owner. It is left untouched. "
                "Remove it or choose another name.",
                5.0,
            ),
        ),
        (
            NotOwned("Secret", "team", "keys", "it has no owner", "adopt it"),
            Problem(
                reasons.NOT_OWNED,
                "Secret team/keys exists and is not owned by this resource: it has no owner. It is left untouched. "
                "Remove it or adopt it.",
                5.0,
            ),
        ),
        (
            ServerUnreachable("no\nanswer"),
            Problem(
                reasons.SERVER_UNREACHABLE,
                "The LiveKit server does not answer: no answer. See the conditions of the LiveKitServer.",
                5.0,
            ),
        ),
        (
            RoomUnanswered("busy", retry_after=1.0),
            Problem(
                reasons.SERVER_UNREACHABLE,
                "The LiveKit server does not answer: busy. See the conditions of the LiveKitServer.",
                1.0,
            ),
        ),
        (
            ServerRefused("not_found", "no such room"),
            Problem(
                reasons.SERVER_REFUSED,
                "The LiveKit server refused: not_found: no such room. Change what it names in the spec, or see its "
                "log.",
                5.0,
            ),
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    error: NotOwned | ServerUnreachable | ServerRefused, problem: Problem
) -> None:
    assert isinstance(error, OperatorError)
    assert error.problem == problem
    assert error.problem.retry_after == problem.retry_after


def test_an_error_of_the_api_server_names_status_and_reason() -> None:
    error = KubernetesError(422, "Invalid", "spec.replicas: must not be negative")
    assert str(error) == "422 Invalid: spec.replicas: must not be negative"
    assert (error.status, error.reason) == (422, "Invalid")


def test_others_words_are_bounded() -> None:
    long = "words\n" * 10_000
    for error in (ServerUnreachable(long), ServerRefused(long, long), KubernetesError(422, "Invalid", long)):
        assert len(str(error)) <= 1000
    assert len(ServerRefused(long, long).code) <= 64
