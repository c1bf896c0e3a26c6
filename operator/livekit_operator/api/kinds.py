"""The table of kinds: how each is called in the cluster and which columns `kubectl get` shows."""

from dataclasses import dataclass, field

from livekit_operator.api.base import ApiModel
from livekit_operator.api.common import Resource, Status
from livekit_operator.api.livekitserver import LiveKitServer, LiveKitServerSpec, LiveKitServerStatus
from livekit_operator.api.meetingroom import MeetingRoom, MeetingRoomSpec, MeetingRoomStatus
from livekit_operator.api.voiceagentpool import VoiceAgentPool, VoiceAgentPoolSpec, VoiceAgentPoolStatus


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; priority above 0 shows only with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True)
class Scale:
    """Where the scale subresource finds its numbers and selector."""

    spec_replicas: str
    status_replicas: str
    selector: str


READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')
REASON = Column("Reason", '.status.conditions[?(@.type=="Ready")].reason')
MESSAGE = Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1)
AGE = Column("Age", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True)
class Kind:
    """One custom resource."""

    kind: str
    plural: str
    short_name: str
    model: type[Resource]
    spec: type[ApiModel]
    status: type[Status]
    columns: tuple[Column, ...]
    scale: Scale | None = None
    categories: tuple[str, ...] = field(default=("all", "livekit"))
    # Objects' names become label values and names of Secrets and pods, which end at 63 characters.
    name_pattern: str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

    @property
    def singular(self) -> str:
        """Return the lower-case name of one object."""
        return self.kind.lower()


KINDS: tuple[Kind, ...] = (
    Kind(
        kind="LiveKitServer",
        plural="livekitservers",
        short_name="lks",
        model=LiveKitServer,
        spec=LiveKitServerSpec,
        status=LiveKitServerStatus,
        # Becomes the name of a Service, a DNS label that starts with a letter.
        name_pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        columns=(
            READY,
            REASON,
            Column("URL", ".status.externalUrl"),
            Column("Rooms", ".status.rooms", "integer"),
            Column("Participants", ".status.participants", "integer"),
            Column("Servers", ".status.readyReplicas", "integer"),
            Column("Version", ".status.version"),
            Column("Progress", '.status.conditions[?(@.type=="Progressing")].reason'),
            Column("Draining", ".status.drainingReplicas", "integer", 1),
            Column("Internal URL", ".status.internalUrl", priority=1),
            MESSAGE,
            AGE,
        ),
        # Disruption budgets count the servers by it, too.
        scale=Scale(".spec.replicas", ".status.replicas", ".status.selector"),
    ),
    Kind(
        kind="VoiceAgentPool",
        plural="voiceagentpools",
        short_name="vap",
        model=VoiceAgentPool,
        spec=VoiceAgentPoolSpec,
        status=VoiceAgentPoolStatus,
        columns=(
            READY,
            REASON,
            Column("Desired", ".status.desiredReplicas", "integer"),
            Column("Replicas", ".status.replicas", "integer"),
            Column("Warm", ".status.readyReplicas", "integer"),
            Column("Busy", ".status.busyReplicas", "integer"),
            Column("Sessions", ".status.activeSessions", "integer"),
            Column("Free", ".status.freeSessions", "integer"),
            Column("Waiting", ".status.waitingSessions", "integer"),
            Column("Updated", ".status.updatedReplicas", "integer", 1),
            Column("Draining", ".status.drainingReplicas", "integer", 1),
            Column("Remaining", ".status.remainingSessions", "integer", 1),
            Column("Canary", ".status.canary.revision", priority=1),
            Column("Revision", ".status.revision", priority=1),
            Column("Why", ".status.desiredReason", priority=1),
            Column("Agent", ".status.agentName", priority=1),
            MESSAGE,
            AGE,
        ),
        scale=Scale(".spec.replicas", ".status.replicas", ".status.selector"),
    ),
    Kind(
        kind="MeetingRoom",
        plural="meetingrooms",
        short_name="mr",
        model=MeetingRoom,
        spec=MeetingRoomSpec,
        status=MeetingRoomStatus,
        columns=(
            READY,
            REASON,
            Column("Server", ".spec.serverRef.name"),
            Column("Participants", ".status.participants", "integer"),
            Column("Agents", ".status.agentsJoined", "integer"),
            Column("SID", ".status.sid", priority=1),
            MESSAGE,
            AGE,
        ),
    ),
)

BY_KIND: dict[str, Kind] = {kind.kind: kind for kind in KINDS}
