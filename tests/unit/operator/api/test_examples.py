"""The examples are understood, and say what they are said to show."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from livekit_operator.api.kinds import BY_KIND
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.rooms.decisions.entries import entries, problem_of
from livekit_operator.rooms.decisions.limits import Limits
from livekit_operator.rooms.decisions.settings import AgentNames
from livekit_operator.settings import Allowed
from tests.fakes import models

EXAMPLES = sorted(Path("examples").glob("*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def rooms(path: Path) -> list[MeetingRoom]:
    found = []
    for document in documents(path):
        if document["kind"] == "MeetingRoom":
            document["metadata"] = {"namespace": "team", "uid": "u", **document["metadata"]}
            found.append(MeetingRoom.model_validate(document))
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_has_no_field_that_there_is_not(path: Path) -> None:
    for document in documents(path):
        if document["kind"] not in BY_KIND:
            continue
        spec = BY_KIND[document["kind"]].spec.model_validate(document["spec"])
        written = spec.model_dump(by_alias=True, exclude_unset=True)
        assert written == document["spec"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_token_of_an_example_is_minted(path: Path) -> None:
    limits = Limits.of(models.server())
    for room in rooms(path):
        assert [problem_of(room, entry, limits, AgentNames(), Allowed()) for entry in entries(room)] == [None] * len(
            entries(room)
        )


def test_the_team_may_read_just_the_secrets_of_its_room() -> None:
    path = Path("examples/app-team.yaml")
    [role] = [document for document in documents(path) if document["kind"] == "Role"]
    [names] = [rule["resourceNames"] for rule in role["rules"] if rule["resources"] == ["secrets"]]
    assert names == [entry.secret_name for room in rooms(path) for entry in entries(room)]
