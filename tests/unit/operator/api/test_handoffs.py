"""What may be said of several agents."""

from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.agent import AgentSpec
from tests.fakes import manifests

DESK: dict[str, Any] = {"name": "desk", "instructions": "Answer.", "greeting": "Hello {{ participant.name }}!"}


def agent(*agents: dict[str, Any], **said: Any) -> AgentSpec:
    rest = {k: v for k, v in manifests.pool()["spec"]["agent"].items() if k not in ("instructions", "greeting")}
    return AgentSpec.model_validate({**rest, "agents": list(agents), **said})


@pytest.mark.parametrize(
    ("agents", "says"),
    [
        ([], "at least 1"),
        ([{**DESK, "name": f"a{i}"} for i in range(9)], "at most 8"),
        ([{**DESK, "name": "front desk"}], "pattern"),
        ([{**DESK, "instructions": ""}], "at least 1"),
        ([{**DESK, "handoffTo": []}], "at least 1"),
    ],
)
def test_what_is_wrong_is_said(agents: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ValidationError) as error:
        agent(*agents)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Hello {{ participant.name }}!", None),
        ("Hello {{ participant.secret }}!", "greeting of desk has a placeholder that is none"),
    ],
)
def test_templates_are_known(text: str, problem: str | None) -> None:
    wrong = {**DESK, "greeting": text}
    assert agent(wrong).agents
    if problem is None:
        assert agent(wrong, promptTemplates=True).agents
        return
    with pytest.raises(ValidationError, match=problem):
        agent(wrong, promptTemplates=True)


def test_the_function_that_hands_over_is_nobody_elses() -> None:
    tool = {"name": "hand_over", "description": "x", "url": "https://x"}
    with pytest.raises(ValidationError, match="two tools are called hand_over"):
        agent(DESK, tools={"http": [tool]})
