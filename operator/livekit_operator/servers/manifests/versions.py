"""Which livekit-server knows what the operator writes into its configuration.

A server refuses a configuration with a key that it does not know. What nothing depends on is left out for an older one;
anything else is refused here, in the words of the resource, before a server says it of a key that nobody wrote.

Sources: pkg/config/config.go, pkg/agent/config.go and pkg/service/turn.go at the releases' tags, and for `rtc` the
version of mediatransportutil that go.mod names there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.errors import Blocked, Problem

Version = tuple[int, int, int]

# `agents.target_load`: before it a worker got no call at a load of 0.7, and pools would never be full.
OLDEST: Final[Version] = (1, 11, 0)


@dataclass(frozen=True)
class Key:
    """A key of the configuration younger than OLDEST, since when it is known, and the field that asks for it."""

    path: str
    since: Version
    field: str


ALLOWED_PEERS: Final = Key("turn.allow_restricted_peer_cidrs", (1, 12, 0), "spec.turn.allowedPeerCidrs")
YOUNGER: Final = (
    ALLOWED_PEERS,
    Key("turn.deny_peer_cidrs", (1, 12, 0), "spec.turn.deniedPeerCidrs"),
    Key("turn.ttl_seconds", (1, 12, 0), "spec.turn.ttlSeconds"),
    # With it a pod's packets need not come back from its node's public address.
    Key("rtc.skip_external_ip_validation", (1, 13, 3), "spec.media.discoverExternalIp with exposure NodePort"),
    Key("rtc.advertise_internal_ip", (1, 13, 0), "spec.media.advertiseInternalIp"),
)


def version_of(server: LiveKitServer) -> Version:
    """Return the version that `spec.version` says, without what follows its three numbers."""
    match = re.match(r"v([0-9]+)\.([0-9]+)\.([0-9]+)", server.spec.version)
    assert match is not None  # the schema's pattern
    return int(match[1]), int(match[2]), int(match[3])


def knows(server: LiveKitServer, key: Key) -> bool:
    """Return whether the server's version knows a key."""
    return version_of(server) >= key.since


def require_known(server: LiveKitServer, config: Mapping[str, Any]) -> None:
    """Raise Blocked when the server's version does not know what the configuration says for the resource's fields."""
    asked = server.spec.version
    if version_of(server) < OLDEST:
        raise Blocked(
            Problem(
                reasons.VERSION_TOO_OLD,
                f"spec.version {asked} is older than {shown(OLDEST)}, the oldest livekit-server that agents can be "
                f"given calls by: choose {shown(OLDEST)} or newer.",
            )
        )
    wanted = [key for key in YOUNGER if _has(config, key.path) and not knows(server, key)]
    if wanted:
        words = ", ".join(f"{key.field} needs {shown(key.since)}" for key in wanted)
        raise Blocked(
            Problem(
                reasons.VERSION_TOO_OLD,
                f"spec.version is {asked}, and {words}: choose a newer version, or leave these out.",
            )
        )


def shown(version: Version) -> str:
    """Return a version as a release is called."""
    return "v" + ".".join(map(str, version))


def _has(config: Mapping[str, Any], path: str) -> bool:
    section, _, name = path.partition(".")
    return name in (config.get(section) or {})
