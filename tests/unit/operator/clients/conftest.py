"""Servers that the clients talk to, for each test one."""

from tests.unit.operator.clients.api_server import api as api  # a fixture
from tests.unit.operator.clients.livekit_server import server as server  # a fixture
