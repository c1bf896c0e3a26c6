"""What is made of what other projects' controllers say: who is cut off, and in whose words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livekit_operator.errors import CutOff, Problem
from livekit_operator.servers.manifests.foreign_status import certificate_problem, gateway_problem, route_problem
from tests.fakes import models

MADE = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON, LATE = MADE + timedelta(seconds=10), MADE + timedelta(seconds=130)
GATEWAY = {"gateway": {"parentRefs": [{"name": "public"}], "host": "a.b"}}
WELL = {"type": "Accepted", "status": "True", "reason": "Accepted"}
RESOLVED = {"type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs"}
NO_PARENT = {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "No listener."}
NO_BACKEND = {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "message": "no such Service"}


def parent(*conditions: dict[str, Any], name: str = "public") -> dict[str, Any]:
    return {"parentRef": {"name": name}, "conditions": list(conditions)}


def made(name: str, status: dict[str, Any], generation: int = 2) -> dict[str, Any]:
    metadata = {"name": name, "generation": generation, "creationTimestamp": MADE.isoformat()}
    return {"metadata": metadata, "status": status}


def told(found: Problem | None) -> tuple[type[Problem], str] | None:
    return (type(found), found.reason) if found else None


@pytest.mark.parametrize(
    ("parents", "now", "expected", "words"),
    [
        pytest.param([parent(WELL, RESOLVED)], LATE, None, "", id="taken"),
        pytest.param([], SOON, (CutOff, "Progressing"), "Waiting until a Gateway takes", id="not looked at yet"),
        pytest.param(
            [], LATE, (CutOff, "RouteNotAccepted"), "check that there is a Gateway public", id="never looked at"
        ),
        pytest.param(
            [parent(NO_PARENT)],
            SOON,
            (CutOff, "RouteNotAccepted"),
            "Gateway public: Accepted is False, NotAllowedByListeners: No listener.",
            id="not accepted",
        ),
        pytest.param(
            [parent(WELL, NO_BACKEND)],
            SOON,
            (CutOff, "RouteNotAccepted"),
            "ResolvedRefs is False, BackendNotFound: no such Service.",
            id="accepted, leads nowhere",
        ),
        pytest.param(
            [parent(WELL, RESOLVED), parent(NO_PARENT, name="inner")],
            LATE,
            (Problem, "RouteNotAccepted"),
            "Gateway inner",
            id="one of two",
        ),
        pytest.param(
            [parent({**NO_PARENT, "observedGeneration": 1})],
            SOON,
            (CutOff, "Progressing"),
            "Waiting",
            id="of a former spec",
        ),
        pytest.param(
            [parent({**NO_PARENT, "message": "x" * 10_000})], SOON, (CutOff, "RouteNotAccepted"), "xxx", id="long"
        ),
    ],
)
def test_routes(
    parents: list[dict[str, Any]], now: datetime, expected: tuple[type[Problem], str] | None, words: str
) -> None:
    route = made("voice-livekit", {"parents": parents})
    found = route_problem(models.server(signal=GATEWAY), route, now)
    assert told(found) == expected
    assert words in (found.message if found else "")
    assert len(found.message if found else "") < 1000


def test_a_url_of_the_users_own_is_not_cut_off() -> None:
    signal = {**GATEWAY, "externalUrl": "wss://voice.example.com"}
    found = route_problem(models.server(signal=signal), made("voice-livekit", {"parents": [parent(NO_PARENT)]}), LATE)
    assert told(found) == (Problem, "RouteNotAccepted")


@pytest.mark.parametrize(
    ("programmed", "expected"),
    [
        ([None], None),
        (["True"], None),
        (["False"], (CutOff, "RouteNotAccepted")),
        (["False", "True"], (Problem, "RouteNotAccepted")),
        ([], None),
    ],
)
def test_gateways(programmed: list[str | None], expected: tuple[type[Problem], str] | None) -> None:
    gateways = [
        made(
            f"g{n}", {"conditions": [{"type": "Programmed", "status": s, "reason": "AddressNotAssigned"}] if s else []}
        )
        for n, s in enumerate(programmed)
    ]
    found = gateway_problem(models.server(signal=GATEWAY), gateways)
    assert told(found) == expected
    assert found is None or "Gateway g0: Programmed is False, AddressNotAssigned" in found.message


TLS = {"ingress": {"host": "a.b", "tls": {"issuerRef": {"name": "i"}}}}
READY = {"type": "Ready", "status": "True"}
PENDING = {"type": "Ready", "status": "False", "reason": "DoesNotExist", "message": "Issuing as Secret does not exist"}
FAILED = {"type": "Issuing", "status": "False", "reason": "Failed", "message": "the authority denied it"}
ISSUING = {"type": "Issuing", "status": "True", "reason": "DoesNotExist"}


@pytest.mark.parametrize(
    ("name", "status", "now", "expected", "words"),
    [
        ("voice-signal-tls", {"conditions": [READY]}, LATE, None, ""),
        ("voice-signal-tls", {}, SOON, (CutOff, "Progressing"), "Waiting for Certificate voice-signal-tls"),
        ("voice-signal-tls", {}, LATE, (CutOff, "CertificateNotReady"), "check that it runs"),
        ("voice-signal-tls", {"conditions": [PENDING, ISSUING]}, SOON, (CutOff, "Progressing"), "Secret does not"),
        ("voice-signal-tls", {"conditions": [PENDING, ISSUING]}, LATE, (CutOff, "CertificateNotReady"), "DoesNotExist"),
        ("voice-signal-tls", {"conditions": [PENDING, FAILED]}, SOON, (CutOff, "CertificateNotReady"), "denied it"),
        ("voice-turn-tls", {"conditions": [PENDING, FAILED]}, SOON, (Problem, "CertificateNotReady"), "denied it"),
        (
            "voice-signal-tls",
            {"conditions": [PENDING, FAILED], "notAfter": "2026-04-01T00:00:00Z"},
            LATE,
            (Problem, "CertificateNotReady"),
            "denied it",
        ),
        (
            "voice-signal-tls",
            {"conditions": [PENDING, FAILED], "notAfter": "2026-02-01T00:00:00Z"},
            LATE,
            (CutOff, "CertificateNotReady"),
            "denied it",
        ),
        ("voice-signal-tls", {"conditions": [PENDING], "notAfter": "soon"}, LATE, (CutOff, "CertificateNotReady"), ""),
    ],
)
def test_certificates(
    name: str, status: dict[str, Any], now: datetime, expected: tuple[type[Problem], str] | None, words: str
) -> None:
    found = certificate_problem(models.server(signal=TLS), made(name, status), now)
    assert told(found) == expected
    assert words in (found.message if found else "")
