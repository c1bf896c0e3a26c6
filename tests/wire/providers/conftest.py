"""A stand-in on loopback and clients of the real plugins."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from tests.providers.control import Control
from tests.providers.keys import Keys
from tests.providers.server import application


@dataclass
class StandIn:
    """A running stand-in and a session to reach it."""

    url: str
    control: Control
    keys: Keys
    session: aiohttp.ClientSession


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    control, keys = Control(), Keys()
    server = TestServer(application(control, keys), host="127.0.0.1")
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        yield StandIn(str(server.make_url("/v1")), control, keys, session)
    await server.close()
