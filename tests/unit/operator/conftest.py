"""For passes a cluster in memory, in which every test ends with one more round that must write nothing;
and property tests try few examples each time: the suite is run after every change, so it sees many all the same.
"""

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from tests.fakes.verbs import guard_observing
from tests.fakes.world import World


@pytest.fixture(autouse=True)
def _observing_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a pass fail that writes while it observes, in every scenario."""
    guard_observing(monkeypatch)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a World. When the test is done, reconciling everything twice more must come to rest."""
    made = World()
    yield made
    made.kubernetes.heal()
    made.livekit.problem = None
    await made.settle()
    assert await made.writes_of_another_round() == []


settings.register_profile("operator", max_examples=40, deadline=None)


settings.load_profile("operator")
