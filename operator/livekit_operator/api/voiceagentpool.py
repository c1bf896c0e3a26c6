"""VoiceAgentPool: warm agents that wait for rooms to ask for them."""

from typing import Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import ObjectRef, Resource, Resources, SecretKeyRef, Status

# Spelled out: `\s` means more to Python than to the API server.
_BASE_URL_PATTERN = r"^(https?|wss?)://[^\x00-\x20/?#]+"


class Provider(ApiModel):
    """A service that the agent speaks to."""

    api_key_secret_ref: SecretKeyRef = Field(description="Where the provider's API key is.")
    base_url: str | None = Field(
        default=None,
        description="Root of a compatible endpoint, ending in `/v1`; the provider's own when left out.",
        max_length=2048,
        pattern=_BASE_URL_PATTERN,
    )


class SpeechToText(Provider):
    """How the agent hears."""

    provider: Literal["deepgram"] = Field(default="deepgram", description="Provider whose protocol is spoken.")
    model: str = Field(default="nova-3", description="Model of the provider.", min_length=1, max_length=128)
    language: str = Field(default="en-US", description="Language as a BCP 47 tag.", min_length=2, max_length=35)
    endpointing_ms: int = Field(
        default=500,
        description="Silence in milliseconds after which the provider calls an utterance complete.",
        ge=10,
        le=10000,
    )


class LanguageModel(Provider):
    """How the agent thinks."""

    provider: Literal["openai"] = Field(default="openai", description="Provider whose protocol is spoken.")
    model: str = Field(default="gpt-4o-mini", description="Model of the provider.", min_length=1, max_length=128)
    temperature: float | None = Field(
        default=None, description="Sampling temperature; the provider's own when left out.", ge=0, le=2
    )


class TextToSpeech(Provider):
    """How the agent speaks."""

    provider: Literal["deepgram"] = Field(default="deepgram", description="Provider whose protocol is spoken.")
    model: str = Field(
        default="aura-2-andromeda-en", description="Voice of the provider.", min_length=1, max_length=128
    )
    sample_rate: Literal[8000, 16000, 24000, 48000] = Field(default=24000, description="Samples a second (Hz).")


class TurnHandling(ApiModel):
    """When the agent speaks, and when it stops for the caller."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "self.minEndpointingDelayMs <= self.maxEndpointingDelayMs",
                "minEndpointingDelayMs must not be above maxEndpointingDelayMs",
                ".minEndpointingDelayMs",
            )
        )
    )

    detection: Literal["stt", "vad"] = Field(
        default="stt", description="Who says that the caller's turn is over: the speech-to-text or voice activity."
    )
    min_endpointing_delay_ms: int = Field(
        default=500, description="Shortest silence in milliseconds before the agent answers.", ge=0, le=30000
    )
    max_endpointing_delay_ms: int = Field(
        default=3000, description="Longest silence in milliseconds before the agent answers.", ge=0, le=60000
    )
    preemptive_generation: bool = Field(
        default=True, description="Start thinking on a likely end of turn, before it is certain."
    )
    allow_interruptions: bool = Field(default=True, description="Whether the caller may interrupt the agent.")
    min_interruption_ms: int = Field(
        default=300, description="Speech in milliseconds that counts as an interruption.", ge=0, le=10000
    )
    false_interruption_timeout_ms: int = Field(
        default=4000,
        description="Silence in milliseconds after which an interruption without words is taken back.",
        ge=0,
        le=60000,
    )
    aligned_transcript: bool = Field(
        default=True, description="Publish the agent's words when they are spoken, not when they are generated."
    )


class AgentSpec(ApiModel):
    """An agent without code."""

    image: str | None = Field(
        default=None,
        description="Image to run instead of the operator's stock agent image, for a mirror or a derived image: it "
        "must read the same configuration and answer `/readyz` and `/status` on port 8082.",
        min_length=1,
    )
    instructions: str = Field(
        description="What the agent is and how it behaves: the system prompt.", min_length=1, max_length=65536
    )
    greeting: str | None = Field(
        default=None,
        description="What the agent says first; when left out it waits for the caller to speak.",
        min_length=1,
        max_length=4096,
    )
    stt: SpeechToText = Field(description="How the agent hears.")
    llm: LanguageModel = Field(description="How the agent thinks.")
    tts: TextToSpeech = Field(description="How the agent speaks.")
    turn_handling: TurnHandling = Field(
        default=TurnHandling(), description="When the agent speaks, and when it stops for the caller."
    )


class Autoscaling(ApiModel):
    """How many pods there are, by the sessions they hold and a free buffer."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas", ".minReplicas")
        )
    )

    min_replicas: int = Field(default=1, description="Pods that are always there.", ge=1, le=1000)
    max_replicas: int = Field(default=10, description="Pods at most.", ge=1, le=1000)
    buffer_sessions: int = Field(
        default=4, description="Sessions kept free for calls that have not come yet.", ge=0, le=100000
    )


class VoiceAgentPoolSpec(ApiModel):
    """The desired agents."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "!has(self.replicas) || !has(self.autoscaling)",
                "set replicas or autoscaling, not both",
                ".replicas",
            ),
            rule(
                "!has(self.terminationGracePeriodSeconds) "
                "|| self.terminationGracePeriodSeconds >= self.drainTimeoutSeconds",
                "terminationGracePeriodSeconds must not be below drainTimeoutSeconds, or calls would be cut",
                ".terminationGracePeriodSeconds",
            ),
        )
    )

    server_ref: ObjectRef = Field(description="The LiveKitServer that the agents register with.")
    agent_name: str | None = Field(
        default=None,
        description="Name that dispatches ask for; the pool's own name when left out. On a server of another namespace "
        "it begins with `<namespace>/`. Agents join only rooms that name them.",
        min_length=1,
        max_length=253,
        pattern=r"^[^\x00-\x20\x7f]+$",
    )
    agent: AgentSpec = Field(description="What runs in each pod.")
    sessions_per_pod: int = Field(default=4, description="Calls that one pod takes at most.", ge=1, le=1000)
    idle_processes: int = Field(
        default=3, description="Processes of a pod kept warm, with models loaded, for the next calls.", ge=1, le=100
    )
    replicas: int | None = Field(
        default=None, description="A fixed number of pods; 1 when neither this nor autoscaling is set.", ge=0, le=1000
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="How many pods there are, by the sessions they hold and a free buffer."
    )
    drain_timeout_seconds: int = Field(
        default=3600, description="How long a pod that is told to leave may finish its calls.", ge=0, le=86400
    )
    termination_grace_period_seconds: int | None = Field(
        default=None,
        description="When Kubernetes kills a leaving pod; drainTimeoutSeconds and 330 seconds when left out.",
        ge=1,
        le=90000,
    )
    resources: Resources = Field(
        default=Resources(requests={"cpu": "500m", "memory": "512Mi"}),
        description="CPU and memory of the agent's container. The CPU request also tells the agent its size.",
    )


class VoiceAgentPoolStatus(Status):
    """The observed agents."""

    agent_name: str | None = Field(default=None, description="Name that dispatches ask for.")
    selector: str | None = Field(default=None, description="Label selector of the pods, for the scale subresource.")
    revision: str | None = Field(default=None, description="Version of the pods that is asked for.")
    replicas: int | None = Field(default=None, description="Pods that exist and are not leaving.")
    desired_replicas: int | None = Field(default=None, description="Pods that are asked for.")
    ready_replicas: int | None = Field(default=None, description="Pods that are warm and registered with the server.")
    updated_replicas: int | None = Field(default=None, description="Pods of the version that is asked for.")
    draining_replicas: int | None = Field(default=None, description="Pods that finish their calls and leave.")
    active_sessions: int | None = Field(default=None, description="Calls that the pods hold.")
    free_sessions: int | None = Field(default=None, description="Calls that the ready pods could still take.")


class VoiceAgentPool(Resource):
    """A pool of prewarmed voice agents."""

    spec: VoiceAgentPoolSpec
