"""Ports that nobody else takes: neither another test beside this one, nor the kernel for a connection of somebody's.

One that is bound to find it free, and let go, may be gone when a program listens there.
"""

import fcntl
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

# Below those that Linux gives to connections (ip_local_port_range, 32768 on) and Kubernetes to node ports (30000 on).
_PORTS = range(20000, 30000)
_FOLDER = Path(tempfile.gettempdir()) / "livekit-operator-test-ports"
# As long as this process lives; the lock falls with it.
_held: list[IO[str]] = []


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that nobody has, and that no other test is given while this process lives.

    Raises RuntimeError when there is none.
    """
    _FOLDER.mkdir(exist_ok=True)
    for port in random.sample(_PORTS, len(_PORTS)):
        lock = (_FOLDER / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("", port))
        except OSError:
            lock.close()
            continue
        _held.append(lock)
        return port
    raise RuntimeError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} is free")
