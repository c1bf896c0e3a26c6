"""What a pool's user adds to its pods: containers, account, names of hosts, rights within `restricted`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from livekit_operator import reasons
from livekit_operator.api.agent_pods import AgentPodTemplate
from livekit_operator.api.containers import Container, ContainerSecurity, PodSecurity
from livekit_operator.errors import Blocked, Problem

# What `restricted` asks of each container; what it asks of the pod, the pod has.
_RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
# These say only what holds anyway.
_FIXED = {"run_as_non_root", "privileged", "allow_privilege_escalation", "capabilities"}
_HANDLERS = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle")


def with_additions(spec: Mapping[str, Any], template: AgentPodTemplate) -> dict[str, Any]:
    """Return a pod's spec with what `spec.podTemplate` adds for agents; the rest of it is `apply_template`'s.

    Raises Blocked when a container mounts a volume of the operator's, or has the kubelet ask another host.
    """
    ours = {volume["name"] for volume in spec["volumes"]}
    added: dict[str, Any] = {
        "serviceAccountName": template.service_account_name,
        "hostAliases": _written(template.host_aliases),
        "dnsPolicy": template.dns_policy,
        "dnsConfig": template.dns_config and template.dns_config.model_dump(by_alias=True, exclude_none=True),
        "initContainers": _containers("initContainers", spec, template.init_containers, ours),
        "containers": _containers("containers", spec, template.containers, ours),
        "automountServiceAccountToken": template.automount_service_account_token,
        "securityContext": {**spec["securityContext"], **_rights(template.security_context)},
    }
    return {**spec, **{key: value for key, value in added.items() if value}}


def container_rights(least: Mapping[str, Any], given: ContainerSecurity | None) -> dict[str, Any]:
    """Return the security context of a container that has `least` where the user says nothing."""
    capabilities = {"drop": ["ALL"]}
    if given and given.capabilities and given.capabilities.add:
        capabilities["add"] = list(given.capabilities.add)
    return {**least, **_rights(given), "capabilities": capabilities}


def user_of(template: AgentPodTemplate) -> int | None:
    """Return the user id that a template asks for, for every container."""
    context = template.security_context
    return template.run_as_user or (context.run_as_user if context else None)


def _rights(given: ContainerSecurity | PodSecurity | None) -> dict[str, Any]:
    return given.model_dump(by_alias=True, exclude_none=True, exclude=_FIXED) if given else {}


def _written(parts: Sequence[Any] | None) -> list[dict[str, Any]]:
    return [part.model_dump(by_alias=True, exclude_none=True) for part in parts or ()]


def _containers(
    field: str, spec: Mapping[str, Any], given: Sequence[Container] | None, ours: set[str]
) -> list[dict[str, Any]]:
    """Return the operator's containers, then the user's."""
    return [*spec.get(field, ()), *(_container(one, f"podTemplate.{field}", ours) for one in given or ())]


def _container(given: Container, field: str, ours: set[str]) -> dict[str, Any]:
    made = given.model_dump(by_alias=True, exclude_none=True)
    for mount in made.get("volumeMounts", ()):
        if mount.get("name") in ours:
            _refuse(
                f"{field}: {given.name} mounts {mount['name']}, a volume of the operator's: share one of your own in "
                "podTemplate.volumes."
            )
    for part in _HANDLERS:
        if any(_hosts(made.get(part))):
            _refuse(f"{field}: {part} of {given.name} names a host, and may ask only its own pod: leave host out.")
    # Where a condition finds what it said when it fails.
    return {
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **made,
        "securityContext": container_rights(_RESTRICTED, given.security_context),
    }


def _hosts(part: Any) -> Iterator[Any]:
    """Yield the hosts that a probe or a hook names, however deep."""
    if isinstance(part, dict):
        for name, inner in part.items():
            if name == "host" and inner:
                yield inner
            yield from _hosts(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _hosts(inner)


def _refuse(message: str) -> None:
    raise Blocked(Problem(reasons.POD_TEMPLATE_REJECTED, message))
