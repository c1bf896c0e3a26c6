"""What a conversation of the stock agent is held to: how long it lasts, what is never said in it, and the values of a
call that its prompts may hold.
"""

from typing import Annotated

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra

Words = Annotated[str, Field(max_length=1024)]
# One word or several, without spaces around them.
NeverSaid = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$")
]
# Read by the API server's RE2 and by Python alike. Two opening braces always begin a placeholder.
_KEYS = r"(\.[A-Za-z0-9_-]+)"
_NAME = (
    rf"(room\.name|participant\.(name|identity)|(room|participant)\.metadata{_KEYS}*|participant\.attributes{_KEYS}+)"
)
_PLACEHOLDER = rf'\{{\{{ *{_NAME} *(\| *default\("[^"{{}}\\\x00-\x1f]*"\) *)?\}}\}}'
TEMPLATE_PATTERN = rf"^([^{{]|\{{[^{{]|{_PLACEHOLDER})*\{{?$"


def template_rule(field: str) -> dict[str, str]:
    """Return the rule that a text of an agent with `promptTemplates` has no placeholder but known ones."""
    return rule(
        f"!has(self.promptTemplates) || !self.promptTemplates || !has(self.{field}) "
        f"|| self.{field}.matches(r'{TEMPLATE_PATTERN}')",
        "with promptTemplates, two opening braces begin a placeholder, such as {{ room.name }}, "
        "{{ room.metadata.customer }}, {{ participant.name }}, {{ participant.attributes.plan }} or "
        '{{ participant.name | default("the caller") }}',
        f".{field}",
    )


class ConversationLimits(ApiModel):
    """How long a call may last, and what is said before it ends."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "has(self.maxCallSeconds) || has(self.maxSilenceSeconds)",
                "set maxCallSeconds or maxSilenceSeconds, or leave limits out",
            ),
            rule(
                "!has(self.warnBeforeSeconds) || has(self.maxCallSeconds)",
                "warnBeforeSeconds needs maxCallSeconds",
                ".warnBeforeSeconds",
            ),
            rule(
                "!has(self.warnBeforeSeconds) || !has(self.maxCallSeconds) "
                "|| self.warnBeforeSeconds < self.maxCallSeconds",
                "warnBeforeSeconds must be below maxCallSeconds",
                ".warnBeforeSeconds",
            ),
        )
    )

    max_call_seconds: Annotated[int, Field(ge=10, le=86400)] | None = Field(
        default=None,
        description="Longest call in seconds, from when the first person is there; a phone call from when it is "
        "answered. Then the agent stops speaking, says `maxCallWords`, and the room is closed: nobody stays in it.",
    )
    max_call_words: Words = Field(
        default="I am sorry, but our time is over. Thank you for your call, and goodbye.",
        description="Said at `maxCallSeconds`; nothing if empty.",
    )
    warn_before_seconds: Annotated[int, Field(ge=5, le=3600)] | None = Field(
        default=None,
        description="How many seconds before `maxCallSeconds` the agent says `warnWords`, in the first pause; when "
        "there is none, after half of them.",
    )
    warn_words: Words = Field(
        default="Just so you know, we have to finish soon.",
        description="Said `warnBeforeSeconds` before the end; nothing if empty.",
    )
    max_silence_seconds: Annotated[int, Field(ge=5, le=3600)] | None = Field(
        default=None,
        description="Longest silence in seconds. When neither a person nor the agent has spoken for so long, the agent "
        "says `maxSilenceWords`, and the room is closed. While the agent thinks or uses a tool there is no silence.",
    )
    max_silence_words: Words = Field(
        default="I cannot hear you any more, so I will hang up now. Goodbye.",
        description="Said at `maxSilenceSeconds`; nothing if empty.",
    )
