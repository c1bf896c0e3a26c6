"""Who looks on at stories notes at once what contradicts itself, and what contradicts the world when it stays."""

import copy

from tests.harness.witness import GRACE_SECONDS, Jury
from tests.unit.operator.test_invariants import SERVER, changed, pod


def test_what_lasted_for_a_moment_is_noted_once() -> None:
    jury = Jury()
    jury.see("LiveKitServer", SERVER)
    assert not jury.found
    for _ in range(2):
        jury.see("LiveKitServer", changed("LiveKitServer", Ready="False RedisUnreachable"))
    jury.see("LiveKitServer", SERVER)
    assert len(jury.found) == 1
    assert "nothing is wrong" in next(iter(jury.found.values()))


def test_the_world_has_its_time_and_no_more() -> None:
    jury = Jury()
    jury.see("LiveKitServer", SERVER)
    jury.look(0.0)
    jury.look(GRACE_SECONDS - 1)
    assert not jury.found, "its pod is gone, which the operator may not have seen"
    jury.see("Pod", {**pod("server"), "kind": "Pod"})
    jury.look(GRACE_SECONDS)
    assert not jury.found
    jury.see("Pod", pod("server"), gone=True)
    jury.look(GRACE_SECONDS + 1)
    jury.look(2 * GRACE_SECONDS + 1)
    assert jury.found


def test_nobody_is_blamed_while_no_operator_runs() -> None:
    jury = Jury()
    jury.see("LiveKitServer", SERVER)
    jury.look(0.0)
    jury.look(GRACE_SECONDS, attended=False)
    jury.look(GRACE_SECONDS + 1)
    jury.look(2 * GRACE_SECONDS)
    assert not jury.found
    jury.look(2 * GRACE_SECONDS + 1)
    assert jury.found


def test_what_is_gone_is_not_looked_at() -> None:
    jury = Jury()
    jury.see("LiveKitServer", copy.deepcopy(SERVER))
    jury.see("LiveKitServer", SERVER, gone=True)
    jury.look(0.0)
    jury.look(GRACE_SECONDS)
    assert not jury.found


def test_others_namespaces_are_seen_and_not_judged() -> None:
    jury = Jury(lambda namespace: namespace == "other")
    jury.see("LiveKitServer", changed("LiveKitServer", Ready="False RedisUnreachable"))
    jury.look(0.0)
    jury.look(GRACE_SECONDS)
    assert not jury.found
