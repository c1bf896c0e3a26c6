"""All tables of reasons."""

from livekit_operator.reasons import of_pools, of_rooms, of_servers, of_several
from livekit_operator.reasons.tables import Table

TABLES: tuple[Table, ...] = (
    of_servers.FAULTS,
    of_servers.QUIET,
    of_several.SLOWED,
    of_pools.READY,
    of_pools.OTHERS,
    of_rooms.ROOMS,
    of_several.NO_AGENT,
)
