import socket
import subprocess
import sys

import pytest

from tests.harness import ports
from tests.harness.ports import free_port

_TAKES = "from tests.harness import ports; ports._PORTS = range({0}, {1}); print(ports.free_port())"


def test_no_port_is_given_twice_not_even_by_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port()
    # Of three ports one is ours, and another one somebody listens on.
    span = range(first - 1, first + 2) if first + 1 < 30000 else range(first - 2, first + 1)
    other, left = (port for port in span if port != first)
    with socket.create_server(("127.0.0.1", other)):
        program = _TAKES.format(span.start, span.stop)
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert int(found.stdout) == left
        monkeypatch.setattr(ports, "_PORTS", range(other, other + 1))
        with pytest.raises(RuntimeError, match="is free"):
            free_port()


def test_a_port_for_datagrams_may_be_one_of_streams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", free_port(socket.SOCK_DGRAM)))
