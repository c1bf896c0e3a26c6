"""A cluster in memory in which every test ends with one more round that must write nothing."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a World. When the test is done, reconciling everything twice more must come to rest."""
    made = World()
    yield made
    made.kubernetes.heal()
    made.livekit.problem = None
    await made.settle()
    assert await made.writes_of_another_round() == []
