"""Versions of a VoiceAgentPool: what decides what its pods are, and the immutable ConfigMap that remembers it.

A version's template is a plain JSON object of what the pods of that version are made of; its digest is the revision.
What may differ from one pod of a version to the next (keys, the server's URL, the agents' name) is not in it.

    spec ── build_template ──► template ── build_version_map ──► ConfigMap <pool>-agent-<revision>
                                  ▲                                 config.json    what the agent reads
                                  └──────── parse_version ───────── template.json  what its pods are made of
                                                  ▲
                              Secret <pool>-agent-versions   digest of that, and what became of the version

A version is a program that runs with the pool's Secrets. So nothing in a ConfigMap is believed unless the record in the
Secret vouches for it, and nothing in the Secret is a program: write access to only one of the two kinds gains nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from livekit_operator import reasons
from livekit_operator.api.agent import AgentSpec
from livekit_operator.api.providers import Plugin, Provider, each
from livekit_operator.api.tools import Tools
from livekit_operator.api.voiceagentpool import VoiceAgentPool, VoiceAgentPoolSpec
from livekit_operator.constants import (
    ANNOTATION_FAILED,
    ANNOTATION_PROVEN,
    ANNOTATION_SERVED,
    LABEL_REVISION,
    TRACK_CANARY,
)
from livekit_operator.errors import Blocked, Problem
from livekit_operator.manifests.metadata import COMPONENT_AGENT, Manifest, child, digest, read_json
from livekit_operator.moments import read_moment
from livekit_operator.pools.manifests.children import agent_name, child_name
from livekit_operator.pools.manifests.records import REVISION_LENGTH, Record

Template = dict[str, Any]

CONFIG_FILE = "config.json"
TEMPLATE_FILE = "template.json"
# The API server takes 1 MiB of data in a ConfigMap (pkg/apis/core/validation ValidateConfigMap).
_MAX_BYTES = 1024 * 1024
# Fields of a provider that its configuration always has.
_NULL = ("baseUrl", "temperature")
# The parts of a spec that decide what a pod is, as the user writes them.
_PARTS = (
    "agent",
    "sessionsPerPod",
    "idleProcesses",
    "startupTimeoutSeconds",
    "initializeTimeoutSeconds",
    "drainTimeoutSeconds",
    "terminationGracePeriodSeconds",
    "metricsPort",
    "resources",
    "podTemplate",
)


@dataclass(frozen=True)
class PoolVersion:
    """A version: its template, the digest of the file that its agents read, and what was noted of it."""

    revision: str
    template: Template
    config_digest: str
    record: Record

    @property
    def created(self) -> datetime:
        """Return when it was new."""
        return self.record.created

    @property
    def proven(self) -> datetime | None:
        """Return when a rollout to it was complete."""
        return self.record.proven

    @property
    def failed(self) -> str | None:
        """Return why it must not be rolled out again."""
        return self.record.failed

    @property
    def served(self) -> bool:
        """Return whether a pod of it was ever ready."""
        return self.record.served

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
    used = {part.provider for part in agent.providers.values() if part.base_url is None}
    urls = {provider: base_urls[provider] for provider in sorted(used & base_urls.keys())}
    return {**template, "providerBaseUrls": urls} if urls else template


def revision(template: Template) -> str:
    """Return the name of a template's version.

    The configuration made of the template counts as well: an operator that writes more into it makes new versions,
    because an existing ConfigMap cannot change.
    """
    return digest([template, build_agent_config(template)], REVISION_LENGTH)


def with_template(pool: VoiceAgentPool, template: Template) -> VoiceAgentPool:
    """Return the pool as it was when a version was wanted, in all that decides what its pods are."""
    now = pool.spec.model_dump(by_alias=True, exclude_none=True)
    rest = {name: value for name, value in now.items() if name not in _PARTS}
    return pool.model_copy(update={"spec": VoiceAgentPoolSpec.model_validate({**rest, **template["spec"]})})


def build_version_map(pool: VoiceAgentPool, template: Template) -> Manifest:
    """Return the ConfigMap of a version. Its data never change; annotations are patched in for people.

    Raises Blocked when it would be larger than a ConfigMap can be.
    """
    config = build_agent_config(template)
    # The longest text stands in the configuration alone.
    agent = {name: value for name, value in template["spec"]["agent"].items() if name != "instructions"}
    stored = {**template, "spec": {**template["spec"], "agent": agent}}
    data = {CONFIG_FILE: _text(config), TEMPLATE_FILE: _text(stored)}
    if sum(len(text.encode()) for text in data.values()) > _MAX_BYTES:
        message = f"spec.agent and spec.podTemplate are longer than {_MAX_BYTES} bytes together: shorten them."
        raise Blocked(Problem(reasons.POOL_TOO_LARGE, message))
    name = version_map_name(pool, revision(template))
    manifest = child(pool, COMPONENT_AGENT, "ConfigMap", "v1", name, immutable=True, data=data)
    manifest["metadata"]["labels"][LABEL_REVISION] = revision(template)
    return manifest


def version_map_name(pool: VoiceAgentPool, revision: str) -> str:
    """Return the name of a version's ConfigMap."""
    return f"{child_name(pool)}-{revision[:REVISION_LENGTH]}"


def content_digest(manifest: Manifest) -> str:
    """Return the digest of all that is read of a version's ConfigMap."""
    data = manifest.get("data") or {}
    return digest([data.get(CONFIG_FILE), data.get(TEMPLATE_FILE)], 64)


def parse_version(manifest: Manifest, revision: str, record: Record) -> PoolVersion | None:
    """Return the version in a ConfigMap, None when its content is not what was noted, or not understood."""
    if content_digest(manifest) != record.content or "deletionTimestamp" in manifest["metadata"]:
        return None
    if (found := _parsed(manifest)) is None:
        return None
    template, config = found
    if digest([template, config], REVISION_LENGTH) != revision:
        return None
    return PoolVersion(revision, template, sha256(manifest["data"][CONFIG_FILE].encode()).hexdigest(), record)


def _parsed(manifest: Manifest) -> tuple[Template, Any] | None:
    """Return a version's template and configuration."""
    data = manifest.get("data") or {}
    template, config = read_json(data.get(TEMPLATE_FILE)), read_json(data.get(CONFIG_FILE))
    try:
        if "instructions" in config and "agents" not in config:
            template["spec"]["agent"]["instructions"] = config["instructions"]
        AgentSpec.model_validate(template["spec"]["agent"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return template, config


def record_of_former(pool: VoiceAgentPool, manifest: Manifest) -> tuple[str, Record] | None:
    """Return revision and record of a ConfigMap of before there were records, None for one that is not what it says.

    Its annotations had what became of it then.
    """
    metadata = manifest["metadata"]
    revision = (metadata.get("labels") or {}).get(LABEL_REVISION, "")
    annotations, created = metadata.get("annotations") or {}, read_moment(metadata.get("creationTimestamp"))
    if metadata["name"] != version_map_name(pool, revision) or not manifest.get("immutable") or created is None:
        return None
    parsed = _parsed(manifest)
    if parsed is None or digest(list(parsed), REVISION_LENGTH) != revision:
        return None
    return revision, Record(
        content=content_digest(manifest),
        created=created,
        proven=read_moment(annotations.get(ANNOTATION_PROVEN)),
        failed=annotations.get(ANNOTATION_FAILED),
        served=ANNOTATION_SERVED in annotations,
    )


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
    if "initializeTimeoutSeconds" in spec:  # nor this one
        config["initializeTimeoutSeconds"] = spec["initializeTimeoutSeconds"]
    if not agent.stock:
        return config
    # Nor does it know these.
    if agent.vad is not None:
        config["vad"] = agent.vad.model_dump(by_alias=True)
    if agent.audio_only is not None:
        config["audioOnly"] = agent.audio_only
    if agent.noise_suppression is not None:
        config["noiseSuppression"] = agent.noise_suppression
    if agent.tools is not None:
        config["tools"] = _tools(agent.tools)
    if agent.limits is not None:
        config["limits"] = agent.limits.model_dump(by_alias=True, exclude_none=True)
    if agent.never_say is not None:
        config["neverSay"] = agent.never_say
    if agent.prompt_templates:
        config["promptTemplates"] = True
    base_urls = template.get("providerBaseUrls", {})
    config = {**config, **_told(agent)}
    if agent.realtime is not None:
        return {**config, "realtime": _provider(agent.realtime, base_urls)}
    return {
        **config,
        "stt": _provider(agent.stt, base_urls),
        "llm": _provider(agent.llm, base_urls),
        "tts": _provider(agent.tts, base_urls),
        # Nor does it know all of these.
        "turnHandling": agent.turns.model_dump(by_alias=True, exclude_none=True),
    }


def canary_deployment(revision: str) -> str:
    """Return the deployment that workers of a canary register for, and dispatches to them name.

    LiveKit refuses `_`, white space and control characters in it (protocol agent/environment.go).
    """
    return f"canary-{revision[:REVISION_LENGTH]}"


def deployment_of(track: str, revision: str) -> str:
    """Return the deployment that a track's workers register for; the stable ones' is empty."""
    return canary_deployment(revision) if track == TRACK_CANARY else ""


def _provider(part: Provider | None, base_urls: Mapping[str, str]) -> dict[str, Any]:
    if part is None:
        return {}
    said = part.model_dump(by_alias=True, exclude={"api_key_secret_ref", "fallbacks", "plugin"})
    # An older stock image knows these alone; they are null where nothing is said.
    values = {name: value for name, value in said.items() if value is not None or name in _NULL}
    values["baseUrl"] = values["baseUrl"] or base_urls.get(values["provider"])
    if part.plugin:
        values["plugin"] = _plugin(part.plugin)
    fallbacks = [_provider(fallback, base_urls) for _, fallback in list(each("", part))[1:]]
    return {**values, "fallbacks": fallbacks} if fallbacks else values


def _plugin(plugin: Plugin) -> dict[str, Any]:
    """Return what the agent makes the plugin of; of its secrets only the names, in the order of their variables."""
    values: dict[str, Any] = plugin.model_dump(by_alias=True, exclude={"secret_options"}, exclude_none=True)
    names = [option.name for option in plugin.secret_options or ()]
    return {**values, "secretOptions": names} if names else values


def _told(agent: AgentSpec) -> dict[str, Any]:
    """Return what the agent is told, and where there are several, all of them behind what the first is told."""
    if not agent.agents:
        return {"instructions": agent.instructions, "greeting": agent.greeting}
    first = agent.agents[0]
    every = [one.model_dump(by_alias=True, exclude_none=True) for one in agent.agents]
    return {"instructions": first.instructions, "greeting": first.greeting, "agents": every}


def _tools(tools: Tools) -> dict[str, Any]:
    """Return what the agent knows of tools; of their secrets only the headers, in the order of their variables."""
    every: dict[str, Any] = tools.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    for tool in (*every.get("http", []), *every.get("mcp", [])):
        for header in tool.get("headers", []):
            del header["secretKeyRef"]
    return every


def _said(part: Any) -> Any:
    return {name: value for name, value in part.items() if value not in ({}, [])} if isinstance(part, dict) else part


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
