"""What a user writes of a pool is understood, defaults included, and what is wrong is not."""

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from livekit_operator.api.voiceagentpool import VoiceAgentPoolSpec
from tests.fakes import manifests, models
from tests.unit.operator.api.three import EXAMPLE


def test_only_numbers_that_matter_differ_from_the_defaults() -> None:
    """The example spells out the defaults: leaving them out means the same."""
    _, written, _ = yaml.safe_load_all(EXAMPLE)
    short = VoiceAgentPoolSpec.model_validate({**manifests.pool()["spec"], "autoscaling": {}})
    assert VoiceAgentPoolSpec.model_validate(written["spec"]) == short


def test_numbers_and_percentages_stay_what_they_are() -> None:
    for value in (1, "25%", "100%"):
        spec = VoiceAgentPoolSpec.model_validate({**manifests.pool()["spec"], "rollout": {"maxSurge": value}})
        assert spec.rollout.max_surge == value


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"rollout": {"maxSurge": "0%"}}, "maxSurge", id="a surge of nothing"),
        pytest.param({"rollout": {"maxSurge": 0}}, "maxSurge", id="no surge"),
        pytest.param({"autoscaling": {"bufferSessions": "1001%"}}, "bufferSessions", id="more than any buffer"),
        pytest.param({"rollout": {"canary": {"weight": 100}}}, "weight", id="a canary for all"),
        pytest.param(
            {"autoscaling": {"schedules": [{"start": "24:00", "end": "01:00", "minReplicas": 1}]}},
            "start",
            id="an hour that no day has",
        ),
        pytest.param(
            {"autoscaling": {"schedules": [{"days": ["Mon"], "start": "02:00", "end": "01:00"}]}},
            "days",
            id="a day that no week has",
        ),
        pytest.param({"roomPrefix": "team-b/voice-"}, "roomPrefix", id="a prefix of another namespace"),
        pytest.param({"roomPrefix": "a\n"}, "roomPrefix", id="a prefix of two lines"),
    ],
)
def test_a_wrong_value_is_named(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        VoiceAgentPoolSpec.model_validate({**manifests.pool()["spec"], **spec})


def test_a_pool_always_says_how_far_it_is_and_whether_there_are_agents() -> None:
    assert models.pool().standing == ("Progressing", "AgentsAvailable", "ProvidersAccepted")
