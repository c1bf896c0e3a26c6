"""What the API server refuses is told and tried again later; any other error is left to the engine."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from livekit_operator import reasons
from livekit_operator.errors import Blocked, Conflict, KubernetesError, NamespaceTerminating, NotFound, Problem
from livekit_operator.reconciling.refusals import Refusals, blocked_if_refused, blocked_if_refused_as, problem_of

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
QUOTA = KubernetesError(403, "Forbidden", "pods is forbidden: exceeded quota")
OTHERS = [
    NotFound(404, "NotFound", "gone"),
    Conflict(409, "Conflict", "changed"),
    KubernetesError(429, "TooManyRequests", "slow down"),
    KubernetesError(500, "InternalError", "away"),
    KubernetesError(0, "TimeoutError", "no answer"),
    NamespaceTerminating(403, "Forbidden", "because it is being terminated"),
]


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_quota_a_policy_and_a_schema_are_for_people_to_hear_of(status: int) -> None:
    problem = problem_of(KubernetesError(status, "Why", "words of the policy"), what="Service voice")
    assert problem is not None
    assert (problem.reason, problem.retry_after) == ("KubernetesRefused", 10.0)
    assert problem.message.startswith("The API server refused Service voice: ")
    assert "words of the policy" in problem.message


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: f"{error.status} {type(error).__name__}")
def test_any_other_error_is_raised_as_it_is(error: KubernetesError) -> None:
    assert problem_of(error) is None
    for telling in (
        blocked_if_refused(),
        blocked_if_refused_as(reasons.INVALID_SECRET, "spec.tokens[0]", what="the Secret"),
    ):
        with pytest.raises(type(error)) as caught, telling:
            raise error
        assert caught.value is error


def test_a_refusal_blocks_in_the_words_of_the_api_server() -> None:
    with pytest.raises(Blocked) as caught, blocked_if_refused(part="x7f3"):
        raise KubernetesError(403, "Forbidden", "Pod front-desk-x7f3 exceeds the quota")
    assert "front-desk-… exceeds the quota" in caught.value.problem.message
    assert caught.value.problem.reason == reasons.KUBERNETES_REFUSED


def test_a_refusal_may_have_another_reason_and_names_the_field() -> None:
    with (
        pytest.raises(Blocked) as caught,
        blocked_if_refused_as(reasons.INVALID_SECRET, "spec.tokens[0]", what="the Secret"),
    ):
        raise QUOTA
    problem = caught.value.problem
    assert (problem.reason, problem.retry_after) == (reasons.INVALID_SECRET, 30.0)
    assert problem.message.startswith("spec.tokens[0]: The API server refused the Secret: ")


def writes(*outcomes: Exception | None) -> tuple[list[int], Callable[[], Awaitable[None]]]:
    """Return how often it was written, and a write that ends with each of these in turn."""
    count: list[int] = []

    async def write() -> None:
        count.append(1)
        if (outcome := outcomes[len(count) - 1]) is not None:
            raise outcome

    return count, write


async def test_what_was_refused_is_not_written_again_for_a_while_and_told_all_the_while() -> None:
    refusals, (count, write) = Refusals(), writes(QUOTA, None)
    for second in (0, 10, 29):
        refusals.begin()
        assert not await refusals.attempt("Secret a", "digest", write, NOW + timedelta(seconds=second))
        assert refusals.problem is not None
    assert len(count) == 1
    refusals.begin()
    assert await refusals.attempt("Secret a", "digest", write, NOW + timedelta(seconds=30))
    assert refusals.problem is None


async def test_what_is_to_become_otherwise_is_written_at_once() -> None:
    refusals, (count, write) = Refusals(), writes(QUOTA, QUOTA)
    for digest in ("one", "another"):
        refusals.begin()
        assert not await refusals.attempt("Secret a", digest, write, NOW)
    assert len(count) == 2


async def test_what_is_blocked_otherwise_is_told_and_tried_at_each_pass() -> None:
    blocked = Blocked(Problem(reasons.NOT_OWNED, "It is somebody else's."))
    refusals, (count, write) = Refusals(), writes(blocked, blocked)
    for _ in range(2):
        refusals.begin()
        assert not await refusals.attempt("Secret a", "digest", write, NOW)
        assert refusals.problem == blocked.problem
    assert len(count) == 2


async def test_the_first_refusal_of_a_pass_is_the_one_that_is_told() -> None:
    refusals = Refusals()
    refusals.begin()
    for name in ("a", "b"):
        await refusals.attempt(f"Secret {name}", "", writes(QUOTA)[1], NOW)
    assert refusals.problem is not None
    assert "Secret a" in refusals.problem.message


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: f"{error.status} {type(error).__name__}")
async def test_an_attempt_that_fails_otherwise_fails_the_pass(error: KubernetesError) -> None:
    refusals = Refusals()
    with pytest.raises(type(error)):
        await refusals.attempt("Secret a", "", writes(error)[1], NOW)
    assert refusals.problem is None


def test_two_problems_are_the_same_whenever_they_are_looked_at_again() -> None:
    assert Problem(reasons.NOT_OWNED, "m", 5.0) == Problem(reasons.NOT_OWNED, "m")
    assert Problem(reasons.NOT_OWNED, "m") != Problem(reasons.NOT_OWNED, "n")
