"""What runs in the pods of a VoiceAgentPool: the stock agent by its fields, or an image of the user's own."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from livekit_operator.api import presets
from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import Image
from livekit_operator.api.containers import ContainerSecurity, EnvironmentFroms, PullPolicy
from livekit_operator.api.conversation import ConversationLimits, NeverSaid, template_rule
from livekit_operator.api.handoffs import HandoffAgents, template_problem
from livekit_operator.api.pods import PodPart
from livekit_operator.api.providers import (
    SECRET_VARIABLE_PATTERN,
    LanguageModel,
    Provider,
    Realtime,
    SpeechToText,
    TextToSpeech,
    each,
)
from livekit_operator.api.tools import HEADER_VARIABLE_PATTERN, Tools
from livekit_operator.api.turns import TurnHandling, VoiceActivityDetection

# Variables that every agent gets from the operator. LIVEKIT_WORKER_TOKEN would have the library take itself for one in
# LiveKit's cloud and forget its limits (livekit-agents worker.py).
OPERATOR_VARIABLES = (
    "AGENT_CONFIG",
    "AGENT_CONFIG_SHA256",
    "LIVEKIT_AGENT_DEPLOYMENT",
    "LIVEKIT_AGENT_NAME",
    "LIVEKIT_AGENT_NAME_OVERRIDE",
    "LIVEKIT_API_KEY",
    "LIVEKIT_API_SECRET",
    "LIVEKIT_URL",
    "LIVEKIT_WORKER_TOKEN",
    "NO_PROXY",
    "NUM_CPUS",
    "no_proxy",
)
PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
_STOCK_FIELDS = (
    *("instructions", "greeting", "stt", "llm", "tts", "realtime", "preset", "vad", "turnHandling", "audioOnly"),
    *("tools", "limits", "neverSay", "promptTemplates", "noiseSuppression", "agents"),
)
_THREE = ("stt", "llm", "tts")


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# Credentials in it would be read by whoever may read the pool.
ProxyUrl = Annotated[
    str,
    Field(
        max_length=2048,
        pattern=r"^https?://[^\x00-\x20/?#]+/?$",
        json_schema_extra=schema_extra(
            rule("!self.contains('@')", "a proxy's password belongs into a Secret: name it with HTTPS_PROXY in env")
        ),
    ),
]


class Proxy(ApiModel):
    """HTTP proxies between the agents and their providers."""

    https_proxy: ProxyUrl | None = Field(default=None, description="Proxy for `https://` and `wss://`.")
    http_proxy: ProxyUrl | None = Field(default=None, description="Proxy for `http://` and `ws://`.")
    no_proxy: list[Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^\x00-\x20,]+$")]] = Field(
        default_factory=list,
        description="Hosts, domains and networks reached without it. The LiveKit server and names inside the cluster "
        "always are.",
        max_length=64,
    )


class EnvironmentVariable(ApiModel):
    """A variable of the container, as in a Pod."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                f"!(self.name in [{_quoted(OPERATOR_VARIABLES)}])",
                "the operator sets this variable itself",
                ".name",
            ),
            rule("!has(self.value) || !has(self.valueFrom)", "set at most one of value and valueFrom", ".valueFrom"),
            rule(
                "self.name != 'PYTHONPATH' || !has(self.valueFrom)",
                "PYTHONPATH takes only a value: the runner's folder is put in front of it",
                ".valueFrom",
            ),
            rule(
                "self.name != 'NODE_OPTIONS' || !has(self.valueFrom)",
                "NODE_OPTIONS takes only a value: the runner's option is put in front of it",
                ".valueFrom",
            ),
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")] = Field(
        description="Name of the variable."
    )
    value: Annotated[str, Field(max_length=32768)] | None = Field(
        default=None, description="Its value. No secrets: whoever may read the pool may read it."
    )
    value_from: PodPart | None = Field(
        default=None, description="Where its value is, as in a Pod: `secretKeyRef`, `configMapKeyRef`, `fieldRef`, …"
    )


def _left_from_before(part: str, field: str, value: str) -> dict[str, str]:
    """Return the rule that a new preset is not overruled by a default that an earlier operator's schema wrote."""
    had, has = (
        f"has({one}.{part}) && has({one}.{part}.{field}) && {one}.{part}.{field} == {value}"
        for one in ("oldSelf", "self")
    )
    return rule(
        f"!has(self.preset) || has(oldSelf.preset) || !({had}) || !({has})",
        f"{part}.{field} would overrule the preset, and may be a default that was written here earlier: "
        "say null for it, or another value",
        f".{part}.{field}",
    )


class AgentSpec(ApiModel):
    """An agent without code, or one of the user's own: `image` and `command`."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule("!has(self.command) || has(self.image)", "command needs an image: your own agent's", ".image"),
            rule("!has(self.args) || has(self.command)", "args need a command", ".args"),
            *(
                rule(
                    f"!has(self.command) || !has(self.{field})",
                    f"{field} is for the stock agent: leave it out beside command",
                    f".{field}",
                )
                for field in _STOCK_FIELDS
            ),
            *(
                rule(
                    f"has(self.command) || has(self.realtime) || has(self.{field})",
                    f"{field} is required unless command runs an agent of your own, or realtime does all three",
                    f".{field}",
                )
                for field in _THREE
            ),
            rule(
                "has(self.command) || has(self.instructions) || has(self.agents)",
                "instructions is required unless command runs an agent of your own, or agents have theirs",
                ".instructions",
            ),
            *(
                rule(
                    f"!has(self.agents) || !has(self.{field})",
                    f"each of agents has its own: leave {field} out, and say it of the first of them",
                    f".{field}",
                )
                for field in ("instructions", "greeting")
            ),
            *(
                rule(
                    f"!has(self.realtime) || !has(self.{field})",
                    f"a realtime model hears, thinks and speaks, and knows whose turn it is: leave {field} out",
                    f".{field}",
                )
                for field in (*_THREE, "vad", "turnHandling")
            ),
            rule(
                "!has(self.preset) || !has(self.realtime) || self.realtime.provider != 'plugin'",
                "a realtime model by a plugin has its own options: leave preset out",
                ".preset",
            ),
            rule(
                "!has(self.turnHandling) || !has(self.turnHandling.detection) || "
                "self.turnHandling.detection != 'semantic' || !has(self.vad) || !has(self.vad.minSilenceDurationMs) || "
                f"self.vad.minSilenceDurationMs >= {presets.SHORTEST_SEMANTIC_SILENCE_MS}",
                f"detection semantic needs {presets.SHORTEST_SEMANTIC_SILENCE_MS} ms of silence or more",
                ".vad.minSilenceDurationMs",
            ),
            _left_from_before("stt", "endpointingMs", "500"),
            _left_from_before("realtime", "endpointingMs", "500"),
            _left_from_before("turnHandling", "minEndpointingDelayMs", "500"),
            _left_from_before("turnHandling", "detection", "'stt'"),
            *(template_rule(field) for field in ("instructions", "greeting")),
            rule(
                "!has(self.realtime) || !has(self.neverSay)",
                "a realtime model speaks by itself, and nothing can be taken out of that: leave neverSay out",
                ".neverSay",
            ),
            rule(
                "self.runner != 'None' || has(self.command)",
                "runner None is for an agent of your own, with command: the stock agent is its runner",
                ".runner",
            ),
            rule(
                "!has(self.runtime) || (has(self.command) && self.runner != 'None')",
                "runtime is for an agent of your own, with command and the runner: leave it out",
                ".runtime",
            ),
            rule("!has(self.runAsUser) || has(self.image)", "runAsUser is for an image of your own", ".runAsUser"),
            rule(
                "!has(self.runAsUser) || !has(self.securityContext) || !has(self.securityContext.runAsUser)",
                "set runAsUser here or in securityContext, not both",
                ".runAsUser",
            ),
            rule("!has(self.envFrom) || has(self.image)", "envFrom is for an image of your own", ".envFrom"),
            rule(
                "has(self.command) || !has(self.env) || !self.env.exists(e, e.name in ['HOME', 'PYTHONPATH'] "
                f"|| e.name.matches('{SECRET_VARIABLE_PATTERN}') || e.name.matches('{HEADER_VARIABLE_PATTERN}'))",
                "the stock agent's own variables cannot be set: HOME, PYTHONPATH, those of keys such as STT_API_KEY",
                ".env",
            ),
            rule(
                "!has(self.proxy) || (!has(self.proxy.httpsProxy) && !has(self.proxy.httpProxy)) || !has(self.env) "
                f"|| !self.env.exists(e, e.name in [{_quoted(PROXY_VARIABLES)}])",
                "name a proxy either in proxy or in env",
                ".env",
            ),
        )
    )

    image: Image | None = Field(
        default=None,
        description="Image to run instead of the operator's stock agent image, with a tag or a digest. With `command` "
        "it holds an agent of your own, made with livekit-agents for Python or Node.js; without, a mirror or a "
        "derivate of the stock image.",
    )
    command: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=4096)]], Field(min_length=1, max_length=64)
    ] | (None) = Field(
        default=None,
        description="Runs an agent of your own, for example `[python, agent.py, start]`. Then the fields of the stock "
        "agent are left out.",
    )
    args: Annotated[list[Annotated[str, Field(max_length=16384)]], Field(max_length=64)] | None = Field(
        default=None, description="Arguments of `command`."
    )
    runner: Literal["Injected", "None"] = Field(
        default="Injected",
        description="`Injected`: the operator's runner is put into an agent of your own and applies sessionsPerPod, "
        "idleProcesses, drainTimeoutSeconds and metricsPort, and says when it is warm and what it does. `None`: "
        "nothing is put in; these fields are then for your code to keep, and a pod is Ready when port 8081 answers.",
    )
    runtime: Literal["Python", "Node"] | None = Field(
        default=None,
        description="What runs an agent of your own, for the runner: `Python` with livekit-agents, `Node` with "
        "`@livekit/agents`. When left out it is prepared for both, and recognises the library by itself.",
    )
    run_as_user: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        default=None,
        description="User id in an image of your own, for one whose files only its own user may read; 1000 when left "
        "out.",
    )
    env: list[EnvironmentVariable] = Field(
        default_factory=list,
        description="Variables added to the container. `HOME` is `/tmp` unless it is named here, such as your image's "
        "own, where it keeps models; so is a `PYTHONPATH` or `NODE_OPTIONS` of the image.",
        max_length=64,
    )
    env_from: EnvironmentFroms | None = Field(
        default=None,
        description="Secrets and ConfigMaps whose keys become variables, as in a Pod. The operator's variables, and "
        "those of `env`, count before them.",
    )
    image_pull_policy: PullPolicy | None = Field(
        default=None, description="When the image is pulled, as in a Pod; `IfNotPresent` when left out."
    )
    security_context: ContainerSecurity | None = Field(
        default=None,
        description="Rights of the container, as far as `restricted` allows; it writes only to its volumes unless "
        "`readOnlyRootFilesystem` is false.",
    )
    proxy: Proxy | None = Field(default=None, description="HTTP proxies between the agents and their providers.")
    instructions: Annotated[str, Field(min_length=1, max_length=65536)] | None = Field(
        default=None, description="What the agent is and how it behaves: the system prompt."
    )
    greeting: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        default=None, description="What the agent says first; when left out it waits for the caller to speak."
    )
    stt: SpeechToText | None = Field(default=None, description="How the agent hears.")
    llm: LanguageModel | None = Field(default=None, description="How the agent thinks.")
    tts: TextToSpeech | None = Field(default=None, description="How the agent speaks.")
    realtime: Realtime | None = Field(
        default=None, description="One model that hears, thinks and speaks, instead of `stt`, `llm` and `tts`."
    )
    # No defaults: beside command they would count as given.
    preset: Literal["Fast", "Balanced", "Thorough"] | None = Field(
        default=None,
        description="What fields of `turnHandling`, `vad`, `stt` and `realtime` are that are left out: `Fast` answers "
        "soon and takes some pauses for the end, `Thorough` waits until nobody is cut short; `Balanced` is what there "
        "is without a preset. A field that is given counts. The values are in docs/pools.md.",
    )
    vad: VoiceActivityDetection | None = Field(default=None, description="How the agent tells speech from silence.")
    turn_handling: TurnHandling | None = Field(
        default=None, description="When the agent speaks, and when it stops for the caller."
    )
    noise_suppression: bool | None = Field(
        default=None,
        description="Take steady noise out of what callers send, inside the pod: for telephones, because browsers do "
        "so themselves. False when left out.",
    )
    audio_only: bool | None = Field(
        default=None,
        description="Subscribe to audio tracks alone; true when left out. With false the agent receives video as well, "
        "as livekit-agents does by default: for a derivate of the stock image, the stock agent looks at none. Text "
        "from callers and transcripts are no tracks, and pass either way.",
    )
    agents: HandoffAgents | None = Field(
        default=None,
        description="Several agents instead of `instructions` and `greeting`, who hand the caller over to each other; "
        "the first of them begins. All have the same models and tools.",
    )
    tools: Tools | None = Field(default=None, description="What the agent may do beside speaking.")
    limits: ConversationLimits | None = Field(
        default=None, description="How long a call may last, and how long nobody may speak; no limits when left out."
    )
    never_say: Annotated[list[NeverSaid], Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Words that are taken out of what the agent says and of its transcript, whoever wrote them: whole "
        "words or phrases, in upper or lower case.",
    )
    prompt_templates: bool | None = Field(
        default=None,
        description="Whether `instructions` and `greeting` hold placeholders of the room and the first person in it, "
        'such as `{{ participant.name | default("the caller") }}`; false when left out.',
    )

    @model_validator(mode="after")
    def _templates_of_agents_are_known(self) -> Self:
        if self.prompt_templates and (problem := template_problem(self.agents or ())):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _with_what_is_left_out(self) -> Self:
        for name, part in self._timed():
            vars(self)[name] = self._completed(name, part)
        return self

    def _completed(self, name: str, part: ApiModel) -> ApiModel:
        """Return a part with its values, written past the setters: they count as left out."""
        part = part.model_copy()
        vars(part).update(presets.left_out(name, vars(part), self.preset, self._given_detection))
        if fallbacks := vars(part).get("fallbacks"):
            vars(part)["fallbacks"] = [self._completed(name, fallback) for fallback in fallbacks]
        return part

    @property
    def turns(self) -> TurnHandling:
        """Return when the agent speaks, with all values, also where nothing is said of it."""
        return self.turn_handling or TurnHandling(**presets.left_out("turn_handling", {}, None, None))

    @property
    def _given_detection(self) -> str | None:
        return self.turn_handling.detection if self.turn_handling else None

    def _timed(self) -> list[tuple[str, ApiModel]]:
        """Return the parts that have values by the preset; what nobody speaks of is None, and stays out of versions."""
        parts: dict[str, ApiModel | None] = {"stt": self.stt, "realtime": self.realtime}
        new = self.stock and self.realtime is None and (self.preset is not None or self._given_detection == "semantic")
        parts["vad"] = self.vad or (VoiceActivityDetection() if new else None)
        parts["turn_handling"] = self.turn_handling or (TurnHandling() if new else None)
        return [(name, part) for name, part in parts.items() if part is not None]

    @property
    def stock(self) -> bool:
        """Return whether the stock agent runs, from whatever image."""
        return self.command is None

    @property
    def injected(self) -> bool:
        """Return whether the runner is put into an image of the user's own."""
        return self.command is not None and self.runner == "Injected"

    @property
    def providers(self) -> dict[str, Provider]:
        """Return the stock agent's providers by their places: `stt`, `stt.fallbacks[0]`, …, `llm`, …, `tts`, …

        A realtime model is the only one.
        """
        roles: dict[str, Provider | None] = {
            "stt": self.stt,
            "llm": self.llm,
            "tts": self.tts,
            "realtime": self.realtime,
        }
        return dict(found for role, first in roles.items() for found in each(role, first))
