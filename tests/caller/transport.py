"""Tells from the SDK's own statistics how the media travels and how well it arrives."""

from collections.abc import Sequence
from dataclasses import dataclass

from livekit import rtc
from livekit.rtc._proto import stats_pb2


@dataclass(frozen=True)
class Path:
    """The network path in use for one direction: "udp" or "tcp", straight or through TURN ("relay")."""

    direction: str
    protocol: str
    remote_address: str
    remote_port: int
    local_type: str
    remote_type: str
    relay_protocol: str | None
    round_trip_ms: float | None

    def lies_in(self, ports: range) -> bool:
        """Whether the server's port is one of these."""
        return self.remote_port in ports

    def __str__(self) -> str:
        relay = f" through TURN over {self.relay_protocol}" if self.relay_protocol else ""
        return f"{self.protocol.upper()} to {self.remote_address}:{self.remote_port}{relay}"


@dataclass(frozen=True)
class Reception:
    """How the agent's audio arrived, since the start of the call."""

    packets_received: int
    packets_lost: int
    concealment_events: int
    concealed_ms: float
    """Sound made up by the decoder because packets were missing, without what it made up of silence."""
    jitter_ms: float


_RATE_OF_STATS = 48000  # the SDK counts samples of decoded Opus


async def measure(room: rtc.Room) -> tuple[tuple[Path, ...], Reception | None]:
    """Read the paths in use and the quality of reception."""
    stats = await room.get_rtc_stats()
    publisher, subscriber = list(stats.publisher_stats), list(stats.subscriber_stats)
    # Newer servers use one connection for both directions; the SDK then reports everything as the publisher's.
    one_connection = not any(entry.HasField("transport") for entry in subscriber)
    sides = (("both ways", publisher),) if one_connection else (("send", publisher), ("receive", subscriber))
    paths = tuple(path for side, entries in sides if (path := _path(side, entries)) is not None)
    return paths, _reception(publisher + subscriber)


def _path(direction: str, entries: Sequence[stats_pb2.RtcStats]) -> Path | None:
    pairs = {e.candidate_pair.rtc.id: e.candidate_pair.candidate_pair for e in entries if e.HasField("candidate_pair")}
    local = {e.local_candidate.rtc.id: e.local_candidate.candidate for e in entries if e.HasField("local_candidate")}
    remote = {
        e.remote_candidate.rtc.id: e.remote_candidate.candidate for e in entries if e.HasField("remote_candidate")
    }
    selected = [e.transport.transport.selected_candidate_pair_id for e in entries if e.HasField("transport")]
    pair = next((pairs[name] for name in selected if name in pairs), None)
    if pair is None or pair.remote_candidate_id not in remote or pair.local_candidate_id not in local:
        return None
    mine, theirs = local[pair.local_candidate_id], remote[pair.remote_candidate_id]
    kind = stats_pb2.IceCandidateType.Name
    relay = stats_pb2.IceServerTransportProtocol.Name(mine.relay_protocol) if mine.HasField("relay_protocol") else None
    return Path(
        direction=direction,
        protocol=theirs.protocol.lower(),
        remote_address=theirs.address,
        remote_port=theirs.port,
        local_type=kind(mine.candidate_type).lower(),
        remote_type=kind(theirs.candidate_type).lower(),
        relay_protocol=relay.removeprefix("TRANSPORT_").lower() if relay else None,
        round_trip_ms=round(pair.current_round_trip_time * 1000, 2) if pair.current_round_trip_time else None,
    )


def _reception(entries: Sequence[stats_pb2.RtcStats]) -> Reception | None:
    audio = [entry.inbound_rtp for entry in entries if entry.HasField("inbound_rtp")]
    audio = [stream for stream in audio if stream.inbound.total_samples_received]
    if not audio:
        return None
    concealed = sum(stream.inbound.concealed_samples - stream.inbound.silent_concealed_samples for stream in audio)
    return Reception(
        packets_received=sum(stream.received.packets_received for stream in audio),
        packets_lost=sum(stream.received.packets_lost for stream in audio),
        concealment_events=sum(stream.inbound.concealment_events for stream in audio),
        concealed_ms=round(concealed / _RATE_OF_STATS * 1000, 1),
        jitter_ms=round(max(stream.received.jitter for stream in audio) * 1000, 2),
    )
