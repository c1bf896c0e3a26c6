"""Containers of the user's: what of them is a field, and what is refused whatever the API server let through."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from livekit_operator.api.containers import (
    OWN_CONTAINERS,
    Container,
    ContainerSecurity,
    EnvironmentFrom,
    InitContainer,
    InitContainers,
    PodSecurity,
)
from livekit_operator.api.writers.crd import structural
from livekit_operator.pools.manifests.pod import CONTAINER, RUNNER_CONTAINER
from tests.unit.operator.api.free_values import DEEP, LARGE

PROXY = {"name": "proxy", "image": "example/proxy:3"}
# Whatever a Pod's container has beside, as Kubernetes 1.36 knows it.
NO_FIELDS = {
    "volumeDevices",
    "stdin",
    "stdinOnce",
    "tty",
    "restartPolicyRules",
    "procMount",
    "windowsOptions",
    "hostPort",
}


def names(schema: Any) -> set[str]:
    """Return the names of all fields in a schema."""
    if isinstance(schema, list):
        return set().union(*map(names, schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", {})) | set().union(*map(names, schema.values()))


def test_what_the_operator_makes_is_named() -> None:
    assert OWN_CONTAINERS == (CONTAINER, RUNNER_CONTAINER)


def test_what_would_reach_beyond_the_pod_is_no_field() -> None:
    assert not names(structural(InitContainer)) & NO_FIELDS


def test_only_a_container_that_starts_first_can_be_a_native_sidecar() -> None:
    assert InitContainer.model_validate({**PROXY, "restartPolicy": "Always"}).restart_policy == "Always"
    assert "restartPolicy" not in structural(Container)["properties"]


@pytest.mark.parametrize(
    ("model", "value", "field"),
    [
        (Container, {**PROXY, "name": "A"}, "name"),
        (Container, {"name": "proxy"}, "image"),
        (Container, {**PROXY, "imagePullPolicy": "Sometimes"}, "imagePullPolicy"),
        (Container, {**PROXY, "ports": [{"containerPort": 0}]}, "containerPort"),
        (Container, {**PROXY, "ports": [{"containerPort": n} for n in range(1, 18)]}, "ports"),
        (Container, {**PROXY, "args": ["x"] * 65}, "args"),
        (InitContainer, {**PROXY, "restartPolicy": "OnFailure"}, "restartPolicy"),
        (ContainerSecurity, {"runAsUser": 0}, "runAsUser"),
        (ContainerSecurity, {"capabilities": {"add": ["SYS_ADMIN"]}}, "capabilities"),
        (ContainerSecurity, {"seccompProfile": {"type": "Unconfined"}}, "seccompProfile"),
        (ContainerSecurity, {"appArmorProfile": {"type": "Unconfined"}}, "appArmorProfile"),
        (ContainerSecurity, {"seLinuxOptions": {"type": "spc_t"}}, "seLinuxOptions"),
        (PodSecurity, {"runAsUser": 0}, "runAsUser"),
        (PodSecurity, {"fsGroup": -1}, "fsGroup"),
        (PodSecurity, {"seccompProfile": {"type": "Unconfined"}}, "seccompProfile"),
        (PodSecurity, {"supplementalGroups": list(range(33))}, "supplementalGroups"),
        (EnvironmentFrom, {"secretRef": {"name": "A_B"}}, "name"),
        (EnvironmentFrom, {"prefix": "A=", "secretRef": {"name": "a"}}, "prefix"),
    ],
)
def test_what_is_wrong_is_named(model: type[Container], value: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        model.model_validate(value)


@pytest.mark.parametrize("value", [DEEP, LARGE], ids=["deep", "large"])
@pytest.mark.parametrize(
    "field", ["resources", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "env", "volumeMounts"]
)
def test_free_parts_are_bounded(field: str, value: dict[str, Any]) -> None:
    listed = field in ("env", "volumeMounts")
    with pytest.raises(ValidationError, match=field):
        Container.model_validate({**PROXY, field: [value] if listed else value})


def test_there_are_not_any_number_of_them() -> None:
    many: TypeAdapter[list[InitContainer]] = TypeAdapter(InitContainers)
    assert len(many.validate_python([{**PROXY, "name": f"c{n}"} for n in range(16)])) == 16
    with pytest.raises(ValidationError, match="at most 16"):
        many.validate_python([{**PROXY, "name": f"c{n}"} for n in range(17)])
