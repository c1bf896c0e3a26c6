"""What a user writes of a server is understood, defaults included, and what is wrong is not."""

from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.livekitserver import LiveKitServerSpec
from tests.fakes import models


def test_the_least_a_user_must_write() -> None:
    assert LiveKitServerSpec.model_validate({}).media.exposure == "HostNetwork"


def test_a_server_always_says_how_far_it_is_and_whether_something_is_wrong() -> None:
    assert models.server().standing == ("Progressing", "Degraded")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"replicas": 101}, "replicas", id="too many servers"),
        pytest.param({"version": "latest"}, "version", id="a version that moves"),
        pytest.param({"version": "1.13.5"}, "version", id="a version as nobody tags it"),
    ],
)
def test_a_wrong_value_is_named(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        LiveKitServerSpec.model_validate(spec)
