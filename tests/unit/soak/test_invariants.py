"""What must hold, and each way in which it does not."""

import base64
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jwt
import pytest

from tests.harness.kubectl import Manifest
from tests.harness.servers import Key
from tests.soak.calling import Record
from tests.soak.invariants import Course, Facts, judged, settled
from tests.soak.memory import Growth

KEY = Key("APIkey", "s" * 32)
FINE = Growth(60.0, 100.0, 1.0)


def room(name: str, sid: str = "RM_1", ready: str = "True") -> Manifest:
    conditions = [{"type": "Ready", "status": ready}]
    status = {"observedGeneration": 1, "sid": sid, "conditions": conditions}
    return {"metadata": {"name": name, "generation": 1}, "status": status}


def secret(room: str = "a", *, key: str = KEY.secret, **claims: Any) -> Manifest:
    now = int(time.time())
    usual = {"iss": KEY.id, "sub": "alice", "video": {"room": room}, "nbf": now - 3600, "exp": now + 3600}
    token = jwt.encode({**usual, **claims}, key, algorithm="HS256")
    return {"data": {"token": base64.b64encode(token.encode()).decode()}}


def child(name: str, owner: str = "u1") -> Manifest:
    return {"kind": "Secret", "metadata": {"name": name, "ownerReferences": [{"uid": owner}]}}


GOOD = Facts(
    wanted=["a"],
    rooms={"a": room("a")},
    listed=[("a", "RM_1")],
    secrets={"a-alice": secret()},
    key=KEY,
    children=[child("a-alice")],
    owners=[{"metadata": {"uid": "u1"}}],
    dispatches=[],
)


def problems(facts: Facts = GOOD, course: Course | None = None) -> dict[str, list[str]]:
    found = judged(facts, course or Course(growth=FINE))
    return {name: sentences for name, sentences in found.items() if sentences}


def test_what_is_as_it_must_be() -> None:
    assert problems() == {}
    assert settled(GOOD) == []
    assert len(judged(GOOD, Course(growth=FINE))) == 11


@pytest.mark.parametrize(
    ("changed", "invariant", "sentence"),
    [
        ({"rooms": {}, "listed": []}, "every room is ready", "MeetingRoom a is gone"),
        ({"rooms": {"a": room("a", ready="False")}}, "every room is ready", "MeetingRoom a is not ready"),
        ({"secrets": {}}, "one Secret for each identity", "Secret a-alice is missing"),
        (
            {"secrets": {"a-alice": secret(), "a-alice-2": secret()}},
            "one Secret for each identity",
            "Secret a-alice-2 is nobody's",
        ),
        (
            {"secrets": {"a-alice": secret(nbf=int(time.time()) + 3000)}},
            "one Secret for each identity",
            "Secret a-alice: its token is no good: The token is not yet valid (nbf)",
        ),
        (
            {"secrets": {"a-alice": secret(exp=int(time.time()) - 1)}},
            "one Secret for each identity",
            "Secret a-alice: its token is no good: Signature has expired",
        ),
        (
            {"secrets": {"a-alice": secret(key="t" * 32)}},
            "one Secret for each identity",
            "Secret a-alice: its token is no good: Signature verification failed",
        ),
        (
            {"secrets": {"a-alice": secret("b")}},
            "one Secret for each identity",
            "Secret a-alice: its token is for ('alice', 'b')",
        ),
        ({"children": [child("x", "gone")]}, "no child without owner", "Secret x has no owner"),
        (
            {"children": [{"kind": "Pod", "metadata": {"name": "x"}}]},
            "no child without owner",
            "Pod x has no owner",
        ),
        (
            {"listed": [("a", "RM_1"), ("b", "RM_2")]},
            "the server's rooms are those declared",
            "room b on the server has no resource",
        ),
        (
            {"listed": [("a", "RM_1"), ("a", "RM_1")]},
            "the server's rooms are those declared",
            "room a is on the server 2 times",
        ),
        ({"listed": []}, "the server's rooms are those declared", "room a is not on the server"),
        (
            {"listed": [("a", "RM_2")]},
            "the server's rooms are those declared",
            "room a is RM_2 on the server, and RM_1 in its status",
        ),
        (
            {"dispatches": ["a", "b"]},
            "no dispatch without room",
            "an agent is asked for in room b, which is not there",
        ),
    ],
)
def test_what_is_not_as_it_must_be(changed: dict[str, Any], invariant: str, sentence: str) -> None:
    facts = replace(GOOD, **changed)
    assert problems(facts) == {invariant: [sentence]}
    assert settled(facts) == [sentence]


def test_a_room_that_was_deleted_and_is_there() -> None:
    facts = replace(GOOD, wanted=[], secrets={})
    assert problems(facts) == {"every room is ready": ["MeetingRoom a was deleted and is there"]}


CUT = Record("call-1", cut="its agent left")
NO_AGENT = Record("call-1", failed="waited 300 s for an agent to come to call-1")


@pytest.mark.parametrize(
    ("course", "invariant", "sentences"),
    [
        (
            Course(records=[CUT], growth=FINE),
            "no call cut but on a killed pod",
            ["call-1 was cut and nothing was killed that it was on: its agent left"],
        ),
        (
            Course(records=[NO_AGENT], growth=FINE),
            "every call had an agent",
            ["call-1: waited 300 s for an agent to come to call-1"],
        ),
        (Course(unhealed=["fault 3"], growth=FINE), "healed in time after each fault", ["fault 3"]),
        (Course(contradictions=["it is ready"], growth=FINE), "no status contradicts", ["it is ready"]),
        (Course(), "no memory growing", ["too little was seen of the operator's memory"]),
        (
            Course(growth=Growth(60.0, 100.0, 30.0)),
            "no memory growing",
            ["the operator's memory grows: +30.0 MiB in 60 s, from 100 MiB; 10 at most"],
        ),
        (Course(growth=FINE, left=["Pod x"]), "nothing left when all is deleted", ["Pod x"]),
    ],
)
def test_a_course_that_was_not_as_it_must_be(course: Course, invariant: str, sentences: Sequence[str]) -> None:
    assert problems(course=course) == {invariant: sentences}


def test_a_call_on_a_killed_pod_may_be_cut() -> None:
    assert problems(course=Course(records=[replace(CUT, cause="worker killed")], growth=FINE)) == {}
