"""Several agents of one pool that hand a caller over to each other."""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.conversation import TEMPLATE_PATTERN
from livekit_operator.api.tools import FunctionName


class HandoffAgent(ApiModel):
    """One of several agents: its own instructions, with the pool's models and tools."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "!has(self.handoffTo) || !(self.name in self.handoffTo)",
                "an agent does not hand over to itself: leave its name out",
                ".handoffTo",
            )
        )
    )

    name: FunctionName = Field(description="Name that the others know it by, such as `billing`.")
    description: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="What it is for, for the models of the others."
    )
    instructions: Annotated[str, Field(min_length=1, max_length=16384)] = Field(
        description="What it is and how it behaves: the system prompt."
    )
    greeting: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        default=None,
        description="What it says when it takes over for the first time; when left out its model answers what was "
        "said last, and the first agent waits for the caller.",
    )
    handoff_to: (
        Annotated[
            list[FunctionName],
            Field(min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = Field(default=None, description="Names of those to whom it may hand the caller over.")


HandoffAgents = Annotated[
    list[HandoffAgent],
    Field(
        min_length=1,
        max_length=8,
        json_schema_extra=schema_extra(
            rule(
                "self.all(one, !has(one.handoffTo) || one.handoffTo.all(to, self.exists(other, other.name == to)))",
                "handoffTo names an agent that there is not: name one of agents",
            ),
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ),
]


def template_problem(agents: Sequence[HandoffAgent]) -> str | None:
    """Return which text of an agent has a placeholder that is none; None when all are known."""
    for one in agents:
        for field, text in (("instructions", one.instructions), ("greeting", one.greeting or "")):
            if not re.search(TEMPLATE_PATTERN, text):
                return f"{field} of {one.name} has a placeholder that is none: write one that promptTemplates knows"
    return None
