"""Versions of a VoiceAgentPool: what decides what its pods are, and the immutable ConfigMap that remembers it.

A version's template is a plain JSON object of what the pods of that version are made of; its digest is the revision.
What may differ from one pod of a version to the next (keys, the server's URL, the agents' name) is not in it.

    spec ── build_template ──► template ── build_version_map ──► ConfigMap <pool>-agent-<revision>
                                  ▲                                 config.json    what the agent reads
                                  └──────── parse_version ───────── template.json  what its pods are made of
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from livekit_operator.api.agent import AgentSpec, Provider, TurnHandling
from livekit_operator.api.voiceagentpool import VoiceAgentPool, VoiceAgentPoolSpec
from livekit_operator.conditions import parse_timestamp
from livekit_operator.constants import (
    ANNOTATION_FAILED,
    ANNOTATION_PROVEN,
    ANNOTATION_SERVED,
    LABEL_REVISION,
    TRACK_CANARY,
)
from livekit_operator.errors import Blocked
from livekit_operator.resources.metadata import COMPONENT_AGENT, Manifest, child, digest
from livekit_operator.resources.voiceagentpool import agent_name, child_name

Template = dict[str, Any]

CONFIG_FILE = "config.json"
TEMPLATE_FILE = "template.json"
# The API server takes 1 MiB of data in a ConfigMap (pkg/apis/core/validation ValidateConfigMap).
_MAX_BYTES = 1024 * 1024
_REVISION_LENGTH = 10
# The parts of a spec that decide what a pod is, as the user writes them.
_PARTS = (
    "agent",
    "sessionsPerPod",
    "idleProcesses",
    "drainTimeoutSeconds",
    "terminationGracePeriodSeconds",
    "metricsPort",
    "resources",
    "podTemplate",
)


@dataclass(frozen=True)
class PoolVersion:
    """A version as its ConfigMap remembers it.

    `served` tells whether a pod of it was ever ready, `proven` when a rollout to it came to its end, `failed` why it
    must not be rolled out again; None before that.
    """

    revision: str
    template: Template
    created: datetime
    proven: datetime | None = None
    failed: str | None = None
    served: bool = False

    @property
    def image(self) -> str:
        """Return the image that its agents run."""
        return str(self.template["spec"]["agent"].get("image") or self.template["stockImage"])


def build_template(pool: VoiceAgentPool, agent_image: str, base_urls: Mapping[str, str]) -> Template:
    """Return the template of the version that the pool's spec asks for.

    `agent_image` is the operator's stock image, `base_urls` provider -> the operator's default base URL. They are part
    of it only where they are used, so that another operator is no reason to replace pods that know nothing of it.
    """
    agent = pool.spec.agent
    written = pool.spec.model_dump(by_alias=True, exclude_none=True)
    # What is empty is left out: a later operator may know more such fields, and the version must stay the same.
    spec = {part: _said(written[part]) for part in _PARTS if part in written}
    template: Template = {"agentName": agent_name(pool), "spec": spec}
    if agent.injected or agent.image is None:
        template["stockImage"] = agent_image
    used = {part.provider for part in (agent.stt, agent.llm, agent.tts) if part and part.base_url is None}
    urls = {provider: base_urls[provider] for provider in sorted(used & base_urls.keys())}
    return {**template, "providerBaseUrls": urls} if urls else template


def revision(template: Template) -> str:
    """Return the name of a template's version.

    What is made of the template counts as well: an operator that writes more into the configuration makes new versions
    of it, for a ConfigMap that is there cannot change.
    """
    return digest([template, build_agent_config(template)], _REVISION_LENGTH)


def with_template(pool: VoiceAgentPool, template: Template) -> VoiceAgentPool:
    """Return the pool as it was when a version was wanted, in all that decides what its pods are."""
    now = pool.spec.model_dump(by_alias=True, exclude_none=True)
    rest = {name: value for name, value in now.items() if name not in _PARTS}
    return pool.model_copy(update={"spec": VoiceAgentPoolSpec.model_validate({**rest, **template["spec"]})})


def build_version_map(pool: VoiceAgentPool, template: Template) -> Manifest:
    """Return the ConfigMap of a version. Its data never change; verdicts are annotations that are patched in.

    Raises Blocked when it would be larger than a ConfigMap can be.
    """
    config = build_agent_config(template)
    # The longest text stands in the configuration alone.
    agent = {name: value for name, value in template["spec"]["agent"].items() if name != "instructions"}
    stored = {**template, "spec": {**template["spec"], "agent": agent}}
    data = {CONFIG_FILE: _text(config), TEMPLATE_FILE: _text(stored)}
    if sum(len(text.encode()) for text in data.values()) > _MAX_BYTES:
        raise Blocked("PoolTooLarge", f"spec.agent and spec.podTemplate are longer than {_MAX_BYTES} bytes together.")
    name = version_map_name(pool, revision(template))
    manifest = child(pool, COMPONENT_AGENT, "ConfigMap", "v1", name, immutable=True, data=data)
    manifest["metadata"]["labels"][LABEL_REVISION] = revision(template)
    return manifest


def version_map_name(pool: VoiceAgentPool, revision: str) -> str:
    """Return the name of a version's ConfigMap."""
    return f"{child_name(pool)}-{revision[:_REVISION_LENGTH]}"


def parse_version(manifest: Manifest) -> PoolVersion | None:
    """Return the version that a ConfigMap remembers, None when it remembers none that this operator understands."""
    metadata, data = manifest["metadata"], manifest.get("data") or {}
    annotations = metadata.get("annotations") or {}
    proven = annotations.get(ANNOTATION_PROVEN)
    try:
        template = json.loads(data[TEMPLATE_FILE])
        config = json.loads(data[CONFIG_FILE])
        if "instructions" in config:
            template["spec"]["agent"]["instructions"] = config["instructions"]
        AgentSpec.model_validate(template["spec"]["agent"])
        return PoolVersion(
            revision=metadata["labels"][LABEL_REVISION],
            template=template,
            created=parse_timestamp(metadata["creationTimestamp"]),
            proven=parse_timestamp(proven) if proven else None,
            failed=annotations.get(ANNOTATION_FAILED),
            served=ANNOTATION_SERVED in annotations,
        )
    except (KeyError, TypeError, ValueError):
        return None


def build_agent_config(template: Template) -> dict[str, Any]:
    """Return what the agents of a version read: the whole agent, or for one of the user's own what its runner applies.

    It holds no key.
    """
    spec = template["spec"]
    agent = AgentSpec.model_validate(spec["agent"])
    config = {
        "agentName": template["agentName"],
        "sessionsPerPod": spec["sessionsPerPod"],
        "idleProcesses": spec["idleProcesses"],
        "drainTimeoutSeconds": max(1, spec["drainTimeoutSeconds"]),  # agents take no less
    }
    if "metricsPort" in spec:  # an older stock image knows no such field
        config["metricsPort"] = spec["metricsPort"]
    if not agent.stock:
        return config
    # Nor does it know these.
    if agent.vad is not None:
        config["vad"] = agent.vad.model_dump(by_alias=True)
    if agent.audio_only is not None:
        config["audioOnly"] = agent.audio_only
    base_urls = template.get("providerBaseUrls", {})
    return {
        **config,
        "instructions": agent.instructions,
        "greeting": agent.greeting,
        "stt": _provider(agent.stt, base_urls),
        "llm": _provider(agent.llm, base_urls),
        "tts": _provider(agent.tts, base_urls),
        "turnHandling": (agent.turn_handling or TurnHandling()).model_dump(by_alias=True),
    }


def canary_deployment(revision: str) -> str:
    """Return the deployment that workers of a canary register for, and dispatches to them name.

    LiveKit refuses `_`, white space and control characters in it (protocol agent/environment.go).
    """
    return f"canary-{revision[:_REVISION_LENGTH]}"


def deployment_of(track: str, revision: str) -> str:
    """Return the deployment that a track's workers register for; the stable ones' is empty."""
    return canary_deployment(revision) if track == TRACK_CANARY else ""


def _provider(part: Provider | None, base_urls: Mapping[str, str]) -> dict[str, Any]:
    if part is None:
        return {}
    values: dict[str, Any] = part.model_dump(by_alias=True, exclude={"api_key_secret_ref"})
    return {**values, "baseUrl": values["baseUrl"] or base_urls.get(values["provider"])}


def _said(part: Any) -> Any:
    return {name: value for name, value in part.items() if value not in ({}, [])} if isinstance(part, dict) else part


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
