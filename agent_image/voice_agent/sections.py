"""What the parts of the configuration share."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Section(BaseModel):
    """A part of the file; all of a configuration is one key of a cache, so that nothing in it changes."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, validate_by_alias=True, extra="forbid", frozen=True
    )


def as_text(value: Any) -> Any:
    """Free values as text, because a map is no key of a cache."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
