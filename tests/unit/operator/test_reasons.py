"""Every reason that the operator gives is documented, and whatever is a fault says what to do."""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import livekit_operator
from livekit_operator import reasons
from livekit_operator.reasons import Reason
from livekit_operator.reasons.documented import TABLES
from livekit_operator.reasons.tables import Row
from tests.harness.reasons import PASSED_ON, Source

# Reasons of what is as it should be, was asked for, or is over by itself: nothing is to be done.
NO_FAULT = frozenset(
    {
        reasons.ACCEPTED,
        reasons.ADOPTED,
        reasons.APPLIED,
        reasons.AS_EXPECTED,
        reasons.AVAILABLE,
        reasons.CANARY,
        reasons.DELETING,
        reasons.DRAINING,
        reasons.NAMESPACE_TERMINATING,
        reasons.NOT_ASKED,
        reasons.OWN_AGENT,
        reasons.POOLS_READY,
        reasons.PROGRESSING,
        reasons.READY,
        reasons.RECREATING,
        reasons.RETRYING,
        reasons.ROLLING_OUT,
        reasons.ROOM_ENDED,
        reasons.ROTATING_KEYS,
        reasons.RUNNER_NOT_INJECTED,
        reasons.SCALED_TO_ZERO,
        reasons.SCALING_DOWN,
        reasons.STARTING,
        reasons.UP_TO_DATE,
        reasons.WAITING_FOR_ROOMS,
        reasons.WITHIN_LIMITS,
    }
)
_TO_DO = (
    "add|annotate|ask|change|check|choose|correct|create|delete|drop|give|have|install|leave|let|look|make|name|put|"
    "raise|read|remove|say|see|set|shorten|take|wait|widen"
)
# Where a part of a sentence begins these are no nouns and no infinitives; of others' objects their owners decide.
_REMEDY = re.compile(rf"(?:^|[.:;,]|\bor|\band) (?:{_TO_DO})\b|^(?:{_TO_DO})\b|whoever has the \w+ adds", re.IGNORECASE)
PACKAGE = Path(livekit_operator.__file__).parent
USES = Source(PACKAGE).uses()
CODE = {
    path.relative_to(PACKAGE): path.read_text()
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.parent != PACKAGE / "reasons"
}
NAMES = {name: value for name, value in vars(reasons).items() if name.isupper()}
# The kinds that those of a part of the package are about; what is elsewhere is about any.
KINDS = {"servers": "LiveKitServer", "pools": "VoiceAgentPool", "rooms": "MeetingRoom"}
# What a server says to those who use it.
OTHERS = {"LiveKitServer": {"SERVER_NOT_ALLOWED", "SERVER_NOT_FOUND", "SERVER_NOT_READY"}}
_NAMED_AFTER_A_KIND = {"LIVEKIT_SERVER_NOT_UNDERSTOOD", "VOICE_AGENT_POOL_NOT_UNDERSTOOD"}
# What Kubernetes calls the same.
WORDS_OF_KUBERNETES = {(Path("clients/api_transport.py"), "NamespaceTerminating")}


def rows(kind: str | None = None) -> dict[Reason, list[Row]]:
    """Return reason -> the rows of the documentation about it, of all kinds or of one."""
    found: dict[Reason, list[Row]] = {}
    for table in TABLES:
        for row in table.rows:
            if kind is None or kind in (*table.kinds, *row.also):
                for reason in row.reasons:
                    found.setdefault(reason, []).append(row)
    return found


def given(node: ast.AST) -> Iterator[str]:
    """Yield the names of the reasons in a tree, but for those that others are compared with."""
    match node:
        case ast.Attribute(value=ast.Name(id="reasons"), attr=name):
            yield name
        case ast.Compare() | ast.Set():
            return
        case ast.Tuple(elts=[*parts]) if parts and all(ast.unparse(part).startswith("reasons.") for part in parts):
            return
    for child in ast.iter_child_nodes(node):
        yield from given(child)


def test_a_reason_is_called_what_it_is() -> None:
    assert {name: re.sub(r"[^a-z]", "", name.lower()) for name in NAMES} == {
        name: value.lower() for name, value in NAMES.items()
    }


def test_every_reason_is_given_by_the_operator() -> None:
    found = {name for text in CODE.values() for name in given(ast.parse(text))}
    assert found | _NAMED_AFTER_A_KIND == NAMES.keys()


def test_no_reason_stands_in_the_code_by_itself() -> None:
    texts = [value for value in NAMES.values() if re.fullmatch(r"([A-Z][a-z]+){2,}", value)]
    found = {(path, value) for path, text in CODE.items() for value in texts if f'"{value}"' in text}
    assert found == WORDS_OF_KUBERNETES
    assert not [path for path, text in CODE.items() if re.search(r'\bReason\("', text)]


def test_every_reason_is_documented_and_nothing_else() -> None:
    assert rows().keys() == set(NAMES.values())


def test_every_reason_is_documented_for_the_kind_that_gives_it() -> None:
    missing = []
    for path, text in CODE.items():
        if kind := KINDS.get(path.parts[0]):
            known = rows(kind)
            missing += [
                (str(path), name)
                for name in given(ast.parse(text))
                if NAMES[name] not in known and name not in OTHERS.get(kind, ())
            ]
    assert missing == []


def test_the_documentation_says_what_to_do_about_each_fault() -> None:
    assert not [
        reason for reason, told in rows().items() if reason not in NO_FAULT and not all(row.todo for row in told)
    ]


def test_the_message_of_each_fault_says_what_to_do() -> None:
    faults = [replace(use, words=" ".join(use.words.split())) for use in USES if NAMES[use.reason] not in NO_FAULT]
    assert not [use for use in faults if use.words and PASSED_ON not in use.words and not _REMEDY.search(use.words)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("Secret keys does not exist.", False),
        ("Secret keys does not exist: create it.", True),
        ("The name is taken. Choose another one, or remove that one.", True),
        ("The set of names has a look of its own.", False),
    ],
)
def test_what_counts_as_saying_what_to_do(words: str, told: bool) -> None:
    assert bool(_REMEDY.search(words)) is told
