"""What users add to pods goes through as it is, up to a bound."""

from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.bounds import MOST_FREE_BYTES
from livekit_operator.api.livekitserver import LiveKitServerSpec
from tests.unit.operator.api.free_values import DEEP, LARGE, at


@pytest.mark.parametrize("value", [DEEP, LARGE], ids=["deep", "large"])
@pytest.mark.parametrize(
    "path",
    [
        "podTemplate.affinity",
        "podTemplate.volumes.0",
        "podTemplate.volumeMounts.0",
        "podTemplate.tolerations.0",
        "podTemplate.topologySpreadConstraints.0",
    ],
)
def test_free_fields_are_bounded(path: str, value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        LiveKitServerSpec.model_validate(at(path, value))
    assert ".".join(map(str, caught.value.errors()[0]["loc"])) == path


def test_many_of_a_free_list_are_bounded_together() -> None:
    volumes = [{"name": "v", "x": "x" * (MOST_FREE_BYTES // 4)} for _ in range(5)]
    with pytest.raises(ValidationError) as caught:
        LiveKitServerSpec.model_validate({"podTemplate": {"volumes": volumes}})
    assert caught.value.errors()[0]["loc"] == ("podTemplate", "volumes")
