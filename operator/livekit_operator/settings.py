"""The operator's settings, read once from the environment."""

import os
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from livekit_operator.constants import OPERATOR_HTTP_PORT, OPERATOR_LIVENESS_PORT


class Settings(BaseModel):
    """Settings; each comes from the environment variable named in upper case with the prefix `LIVEKIT_OPERATOR_`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent_image: str = Field(min_length=1)
    """Stock agent image of pools that name none."""
    server_image: str = Field(default="livekit/livekit-server", min_length=1)
    """Repository of the media server's image; the tag is the resource's version."""
    redis_image: str = Field(default="redis:7.2-alpine", min_length=1)
    """Image of the small Redis of `spec.redis.managed`."""
    namespace: str = Field(default="livekit-system", min_length=1)
    """Namespace that the operator runs in, for NetworkPolicies that let it in."""
    webhook_url: str | None = None
    """Root under which LiveKit servers reach this operator's webhooks; None switches webhooks off."""
    provider_base_urls: dict[str, str] = Field(default_factory=dict)
    """Default base URL of each provider, for pools that name none: a gateway, a proxy, a stand-in (JSON object)."""
    omit_ids: bool = False
    """Whether pods that ask for no user id get none: a cluster such as OpenShift then chooses it."""
    http_port: int = OPERATOR_HTTP_PORT
    liveness_port: int = OPERATOR_LIVENESS_PORT
    workers: Annotated[int, Field(ge=1, le=1000)] = 64
    """Objects of one kind reconciled at once: at most half of them of one namespace, a quarter of one server."""
    server_poll_seconds: Annotated[float, Field(gt=0)] = 5.0
    """How often each server's rooms are listed, those of one with thousands more seldom."""
    pool_poll_seconds: Annotated[float, Field(gt=0)] = 2.0
    """How often a pool's workers are asked for their sessions."""
    clock_look_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How often it is looked whether the clock was moved."""


PREFIX = "LIVEKIT_OPERATOR_"


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of an environment; raises pydantic.ValidationError naming each wrong one."""
    given: dict[str, object] = {
        name: environment[PREFIX + name.upper()]
        for name in Settings.model_fields
        if environment.get(PREFIX + name.upper())
    }
    if isinstance(urls := given.get("provider_base_urls"), str):
        given["provider_base_urls"] = TypeAdapter(dict[str, str]).validate_json(urls)
    return Settings.model_validate(given)
