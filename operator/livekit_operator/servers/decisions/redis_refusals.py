"""What a Redis says that answers but refuses what livekit-server needs: a pure reading of logs.

Sources: Redis' src/server.c createSharedObjects and src/acl.c for the words; livekit-server logs an error as the value
of `error`, and go-redis (internal/log.go) lines of its own. What participants choose comes in other values, where
quotes are escaped.
"""

import re

_WORDS = {
    "READONLY": "it is a replica that takes no writes: name its master in spec.redis, or use spec.redis.sentinel",
    "NOPERM": "its user may not do all that livekit-server does: give it all keys, channels and commands "
    "(ACL SETUSER … ~* &* +@all)",
    "OOM": "its memory is full: give it more",
    "MISCONF": "it cannot save and so takes no writes: see its log",
    "NOREPLICAS": "it has too few replicas for taking writes: start them, or lower its min-replicas-to-write",
    "MASTERDOWN": "it is a replica whose master is away: name its master in spec.redis, or use spec.redis.sentinel",
    "CLUSTERDOWN": "its cluster is down: see `CLUSTER INFO` and start the nodes that are missing",
    "LOADING": "it still loads its data: wait until it has",
    "NOAUTH": "it wants a password: see spec.redis.passwordSecretRef",
    "WRONGPASS": "it refuses user or password: see spec.redis.username and passwordSecretRef",
}
_SAID = rf"((?:{'|'.join(_WORDS)}) [^\"\\\r\n]{{1,200}})"
_LOGGED = re.compile(
    rf'(?<!\\)"error": ?"(?:(?:could not|failed to|unable to) [a-z ]{{1,40}}: ){{0,3}}{_SAID}'
    rf"|^redis: [0-9/]+ [0-9:.]+ \w+\.go:[0-9]+: (?:[^\"\r\n]*: )?{_SAID}",
    re.MULTILINE,
)
_ENDED = re.compile(rf"(?:^|: ){_SAID}$")


def find_logged(log: str) -> str | None:
    """Return what Redis refused last according to a server's log, and what to do; None when it refused nothing."""
    found = list(_LOGGED.finditer(log))
    return _told(next(group for group in found[-1].groups() if group)) if found else None


def find_last(line: str) -> str | None:
    """Return what Redis refused according to the last output of a server, None when that is about something else."""
    found = _ENDED.search(line.strip())
    return f"{line.strip().rstrip('.')}: {_WORDS[found[1].split()[0]]}." if found else None


def _told(said: str) -> str:
    return f"Redis says {said.strip().rstrip('.')!r}: {_WORDS[said.split()[0]]}."
