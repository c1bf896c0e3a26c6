"""VoiceAgentPool: warm agents that wait for rooms to ask for them."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.agent import AgentSpec
from livekit_operator.api.agent_pods import AgentPodTemplate
from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import AllowedNamespaces, ObjectRef, Port, Resource, Resources, Status
from livekit_operator.constants import CONDITION_AGENTS_AVAILABLE, CONDITION_PROGRESSING, CONDITION_PROVIDERS_ACCEPTED

Replicas = Annotated[int, Field(ge=0, le=1000)]
# As in `status.versions`.
Revision = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]+$")]
Weekday = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
TimeOfDay = Annotated[str, Field(max_length=5, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


def _number_or_share(minimum: int, maximum: int, percentage: str) -> dict[str, object]:
    """Return the schema of `intstr.IntOrString`: a number within limits, or a percentage of that pattern."""
    return {
        "type": None,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
        "minimum": minimum,
        "maximum": maximum,
        "maxLength": 5,
        "pattern": percentage,
    }


_SURGE_PATTERN = r"^([1-9][0-9]?|100)%$"
Surge = Annotated[
    Annotated[int, Field(ge=1, le=1000)] | Annotated[str, Field(pattern=_SURGE_PATTERN)],
    Field(json_schema_extra=_number_or_share(1, 1000, _SURGE_PATTERN)),
]
_BUFFER_PATTERN = r"^(0|[1-9][0-9]{0,2}|1000)%$"
Buffer = Annotated[
    Annotated[int, Field(ge=0, le=100000)] | Annotated[str, Field(pattern=_BUFFER_PATTERN)],
    Field(json_schema_extra=_number_or_share(0, 100000, _BUFFER_PATTERN)),
]


class Schedule(ApiModel):
    """A time of the week when more pods are always there."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(rule("self.start != self.end", "start and end must differ", ".end"))
    )

    days: list[Weekday] = Field(
        default_factory=list,
        description="Days on which it starts; every day when left out.",
        max_length=7,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    start: TimeOfDay = Field(description="When it starts, as `08:00`.")
    end: TimeOfDay = Field(description="When it ends, as `18:00`; before `start` it is on the next day.")
    # The operator knows which zones there are.
    time_zone: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$")] = (
        Field(default="UTC", description="Time zone of both, a name of the IANA database such as `Europe/Berlin`.")
    )
    min_replicas: Replicas = Field(description="Pods that are always there meanwhile.")


class Autoscaling(ApiModel):
    """How many pods there are."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas", ".minReplicas"),
            rule(
                "!has(self.schedules) || self.schedules.all(s, s.minReplicas <= self.maxReplicas)",
                "minReplicas of schedules must not be above maxReplicas",
                ".schedules",
            ),
        )
    )

    mode: Literal["Internal", "External"] = Field(
        default="Internal",
        description="`Internal`: the operator counts sessions; the fields below say how. `External`: a "
        "HorizontalPodAutoscaler or KEDA writes `replicas` through the scale subresource; the operator still chooses "
        "which pods terminate.",
    )
    min_replicas: Replicas = Field(default=1, description="Pods that are always there; with 0 none without calls.")
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = Field(default=10, description="Pods at most.")
    buffer_sessions: Buffer = Field(
        default=4,
        description="Sessions kept free for the next calls: a number, or a percentage of the active "
        "ones, such as `25%`.",
    )
    scale_down_stabilization_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        default=300, description="How long fewer pods must have been enough before any terminates."
    )
    schedules: list[Schedule] = Field(
        default_factory=list, description="Times when more pods are always there.", max_length=32
    )


class CanaryAnalysis(ApiModel):
    """When a canary is good enough by itself, and when it is not."""

    min_sessions: Annotated[int, Field(ge=1, le=1000000)] = Field(
        default=20, description="Sessions that it must have had before it is judged."
    )
    max_failed_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=5, description="Failed sessions in percent, above which the canary is rolled back."
    )


class Canary(ApiModel):
    """A new version beside the one that served before, for some of the calls."""

    weight: Annotated[int, Field(ge=1, le=99)] = Field(description="Share of new calls, in percent, that it gets.")
    promote: Revision | None = Field(
        default=None, description="Revision of the canary that is to take over; it may have been replaced meanwhile."
    )
    analysis: CanaryAnalysis | None = Field(
        default=None, description="Promotes or takes back the canary by itself; when left out that is for `promote`."
    )


class Rollout(ApiModel):
    """How a changed pool comes to its pods."""

    max_surge: Surge = Field(
        default="25%", description="Pods above the wanted number while versions change, or a percentage of it."
    )
    progress_deadline_seconds: Annotated[int, Field(ge=10, le=86400)] = Field(
        default=600,
        description="A version without a ready pod by then has failed: the pool rolls back to the last one that "
        "served, and one pod of the failed one keeps trying.",
    )
    history_limit: Annotated[int, Field(ge=1, le=50)] = Field(
        default=5, description="Former versions that are kept to roll back to."
    )
    rollback_to: Revision | None = Field(
        default=None, description="A revision of `status.versions` to run instead of what this spec says."
    )
    canary: Canary | None = Field(
        default=None, description="Gives a new version some of the calls before it gets all of them."
    )


class VoiceAgentPoolSpec(ApiModel):
    """The desired agents."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "!has(self.replicas) || !has(self.autoscaling) || self.autoscaling.mode == 'External'",
                "set replicas or autoscaling, not both, unless autoscaling.mode is External",
                ".replicas",
            ),
            rule(
                "!has(self.autoscaling) || self.autoscaling.mode != 'External' || has(self.replicas)",
                "autoscaling.mode External needs replicas to begin with: the autoscaler changes them",
                ".replicas",
            ),
            rule(
                "!has(self.terminationGracePeriodSeconds) "
                "|| self.terminationGracePeriodSeconds >= self.drainTimeoutSeconds",
                "terminationGracePeriodSeconds must not be below drainTimeoutSeconds, or calls would be cut",
                ".terminationGracePeriodSeconds",
            ),
            rule(
                "!has(self.metricsPort) || (self.metricsPort != 8081 && self.metricsPort != 8082)",
                "metricsPort must differ from the worker's ports 8081 and 8082",
                ".metricsPort",
            ),
            *(
                rule(
                    f"!has(self.{field}) || self.{field} <= self.rollout.progressDeadlineSeconds",
                    f"{field} must not be above rollout.progressDeadlineSeconds, or a version would have failed before "
                    "its pods have had their time: raise rollout.progressDeadlineSeconds",
                    f".{field}",
                )
                for field in ("startupTimeoutSeconds", "initializeTimeoutSeconds")
            ),
        )
    )

    server_ref: ObjectRef = Field(description="The LiveKitServer that the agents register with.")
    agent_name: str | None = Field(
        default=None,
        description="Name that dispatches ask for; the pool's own name when left out. On a server of another namespace "
        "it begins with `<namespace>/`. Agents join only rooms that name them, or that `roomPrefix` fits.",
        min_length=1,
        max_length=253,
        pattern=r"^[^\x00-\x20\x7f]+$",
    )
    room_prefix: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f/]*$")] | None = Field(
        default=None,
        description="How the names of rooms begin that get an agent when somebody joins, though no MeetingRoom "
        'declares them, such as `voice-agent-`; every such room with `""`, none when left out. On a server of another '
        "namespace `<namespace>/` stands before it, and no other name holds a `/`. Of several pools' prefixes that "
        "fit, the longest one counts.",
    )
    allowed_namespaces: AllowedNamespaces = Field(
        default_factory=list,
        description="Other namespaces whose MeetingRooms may call these agents, each up to a fair share where places "
        "are few; `*` means all.",
    )
    agent: AgentSpec = Field(description="What runs in each pod.")
    sessions_per_pod: int = Field(default=4, description="Calls that one pod takes at most.", ge=1, le=1000)
    idle_processes: int = Field(
        default=3, description="Processes of a pod kept warm, with models loaded, for the next calls.", ge=1, le=100
    )
    replicas: Replicas | None = Field(
        default=None, description="A fixed number of pods; 1 when neither this nor autoscaling is set."
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="How many pods there are, by the sessions they hold and a free buffer."
    )
    rollout: Rollout = Field(default=Rollout(), description="How pods are replaced when the pool changes.")
    startup_timeout_seconds: int | None = Field(
        default=None,
        description="How long an agent's program may take until it answers on its port; later it is started again. 60 "
        "seconds for the agent without code, 300 for an image of your own, when left out.",
        ge=1,
        le=3600,
    )
    initialize_timeout_seconds: int | None = Field(
        default=None,
        description="How long each idle process may take to become warm (`prewarm`, `setup_fnc`); later it is ended "
        "and another one started. 20 seconds for the agent without code; for your own what your code says, and 10 "
        "seconds when it says nothing. With `agent.runner: None` it is for your code to keep.",
        ge=1,
        le=3600,
    )
    drain_timeout_seconds: int = Field(
        default=3600, description="How long a draining pod may take to finish its calls.", ge=0, le=86400
    )
    termination_grace_period_seconds: int | None = Field(
        default=None,
        description="When Kubernetes kills a leaving pod; drainTimeoutSeconds and 330 seconds when left out.",
        ge=1,
        le=90000,
    )
    metrics_port: Port | None = Field(
        default=None, description="Port of the worker's own Prometheus metrics; it has none when left out."
    )
    resources: Resources = Field(
        default=Resources(requests={"cpu": "500m", "memory": "512Mi"}),
        description="CPU and memory of the agent's container. The CPU request also tells the agent its size.",
    )
    pod_template: AgentPodTemplate = Field(default=AgentPodTemplate(), description="Overrides for the agents' pods.")


Track = Literal["Stable", "Canary", "Old", "Failed", "History"]


class VersionStatus(ApiModel):
    """One version of the pool."""

    revision: str = Field(description="Its name, also the pods' label `livekit-operator.dev/revision`.")
    track: Track = Field(
        description="`Stable` gets the calls, `Canary` some of them, `Old` ends the ones it has; `Failed` did not "
        "serve or was taken back; `History` has no pods."
    )
    image: str | None = Field(default=None, description="Image of the agent.")
    replicas: int | None = Field(default=None, description="Pods that exist.")
    ready_replicas: int | None = Field(default=None, description="Pods that are warm and registered.")
    active_sessions: int | None = Field(default=None, description="Calls that its pods hold.")
    sessions: int | None = Field(default=None, description="Calls that its pods have begun.")
    failed_sessions: int | None = Field(default=None, description="Calls of those that ended with an error.")
    created_at: str | None = Field(
        default=None, description="When it was first wanted.", json_schema_extra={"format": "date-time"}
    )
    message: str | None = Field(default=None, description="What is wrong with it.")


class SessionStatus(ApiModel):
    """One call."""

    room: str = Field(description="Name of its room on the server.")
    pod: str = Field(description="The pod that holds it.")
    state: str | None = Field(
        default=None,
        description="What its agent does: `initializing`, `listening`, `thinking` or `speaking`. Agents say it by "
        "livekit-agents' AgentSession, or by their attribute `lk.agent.state`.",
    )
    start_time: str | None = Field(
        default=None, description="When the pod took it.", json_schema_extra={"format": "date-time"}
    )
    last_activity_time: str | None = Field(
        default=None, description="When its state was last set.", json_schema_extra={"format": "date-time"}
    )


class CanaryStatus(ApiModel):
    """The canary."""

    revision: str = Field(description="Its version.")
    deployment: str | None = Field(default=None, description="Deployment that dispatches to it name.")
    weight: int | None = Field(default=None, description="Share of new calls, in percent, that it gets.")
    sessions: int | None = Field(default=None, description="Calls that it has begun.")
    failed_sessions: int | None = Field(default=None, description="Calls of those that ended with an error.")


class VoiceAgentPoolStatus(Status):
    """The observed agents."""

    read: ClassVar[tuple[str, ...]] = ("readyReplicas", "updatedReplicas", "versions")

    agent_name: str | None = Field(default=None, description="Name that dispatches ask for.")
    selector: str | None = Field(default=None, description="Label selector of the pods, for the scale subresource.")
    revision: str | None = Field(default=None, description="Version of the pods that is asked for.")
    replicas: int | None = Field(default=None, description="Pods that exist and are not leaving.")
    desired_replicas: int | None = Field(default=None, description="Pods that are asked for.")
    desired_reason: str | None = Field(default=None, description="Why that many, in a sentence.")
    ready_replicas: int | None = Field(default=None, description="Pods that are warm and registered with the server.")
    updated_replicas: int | None = Field(default=None, description="Pods of the version that is asked for.")
    draining_replicas: int | None = Field(default=None, description="Pods that finish their calls and leave.")
    busy_replicas: int | None = Field(default=None, description="Pods with calls; none of them is evicted.")
    idle_replicas: int | None = Field(default=None, description="Ready pods without calls.")
    active_sessions: int | None = Field(default=None, description="Calls that the pods hold.")
    free_sessions: int | None = Field(default=None, description="Calls that the ready pods could still take.")
    waiting_sessions: int | None = Field(default=None, description="Rooms that wait for an agent.")
    remaining_sessions: int | None = Field(
        default=None, description="Calls on pods that are leaving or of older versions."
    )
    versions: list[VersionStatus] = Field(
        default_factory=list,
        description="Versions with pods, and former ones to roll back to; newest first.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["revision"]},
    )
    sessions: list[SessionStatus] = Field(
        default_factory=list,
        description="The calls, 50 at most, those first whose agents have done nothing for longest; what they do is up "
        "to ten seconds old.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    canary: CanaryStatus | None = Field(default=None, description="The canary, while there is one.")


class VoiceAgentPool(Resource):
    """A pool of prewarmed voice agents."""

    spec: VoiceAgentPoolSpec

    @property
    def last(self) -> VoiceAgentPoolStatus:
        """Return the status last written, as far as passes read it."""
        return self._read(VoiceAgentPoolStatus)

    @property
    def standing(self) -> tuple[str, ...]:
        """Return the conditions that its status always has, beside `Ready`."""
        return CONDITION_PROGRESSING, CONDITION_AGENTS_AVAILABLE, CONDITION_PROVIDERS_ACCEPTED
