"""Faults at random beside calls, always the same ones: a short soak of a fixed seed (see `make soak` for long ones).

The operator is killed while rooms come, each of which exists once in the end, with one Secret; then everything else
goes wrong in turn, and all is well again after each.
"""

import pytest

from tests.e2e.conftest import Story
from tests.soak.course import Soak
from tests.soak.plan import QUICK, Sizes, make_plan
from tests.soak.report import report

# Disturbs others: the operator and the API server end.
pytestmark = pytest.mark.alone

SEED = 4
SIZES = Sizes(rooms=400, kills=4, calls=12, minutes=2.5, kinds=QUICK)


@pytest.mark.timeout(600)
async def test_whatever_goes_wrong_all_is_well_afterwards(story: Story) -> None:
    # The story's own witness tells of what statuses say that cannot be.
    outcome = await Soak(story, make_plan(SEED, SIZES), contradictions=list).run()
    print(report(outcome))
    assert outcome.problems == []
    assert len(outcome.happened) == len(outcome.plan.faults) > 3
