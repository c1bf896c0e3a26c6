"""What a user adds to a pool's pods: it is there, and never more than `restricted` allows."""

import copy
from typing import Any

import pytest

from livekit_operator.api.agent_pods import AgentPodTemplate
from livekit_operator.api.containers import ContainerSecurity
from livekit_operator.errors import Blocked
from livekit_operator.pools.manifests.additions import container_rights, user_of, with_additions

SPEC: dict[str, Any] = {
    "serviceAccountName": "desk-agent",
    "automountServiceAccountToken": False,
    "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
    "containers": [{"name": "agent"}],
    "volumes": [{"name": "config"}, {"name": "tmp"}, {"name": "runner"}],
}
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
PROXY: dict[str, Any] = {"name": "proxy", "image": "example/proxy:3"}
MADE = {"terminationMessagePolicy": "FallbackToLogsOnError", **PROXY, "securityContext": RESTRICTED}


def added(spec: dict[str, Any] | None = None, **template: Any) -> dict[str, Any]:
    """Return a spec with what a template adds; fails when what was given was changed."""
    given = spec or SPEC
    before = copy.deepcopy(given)
    found = with_additions(given, AgentPodTemplate.model_validate(template))
    assert given == before
    return found


def test_a_template_that_says_nothing_changes_nothing() -> None:
    assert added() == SPEC
    assert list(added()) == list(SPEC)


@pytest.mark.parametrize(
    ("template", "changed"),
    [
        ({"serviceAccountName": "booking"}, {"serviceAccountName": "booking"}),
        ({"automountServiceAccountToken": True}, {"automountServiceAccountToken": True}),
        ({"automountServiceAccountToken": False}, {}),
        (
            {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["crm", "crm.example.com"]}]},
            {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["crm", "crm.example.com"]}]},
        ),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.53"]}},
         {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.53"]}}),
        ({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}},
         {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
        ({"dnsConfig": {}}, {}),
        ({"containers": [PROXY]}, {"containers": [*SPEC["containers"], MADE]}),
        ({"initContainers": [PROXY]}, {"initContainers": [MADE]}),
        ({"initContainers": [{**PROXY, "restartPolicy": "Always"}]},
         {"initContainers": [{**MADE, "restartPolicy": "Always"}]}),
        ({"securityContext": {"fsGroup": 0, "supplementalGroups": [7], "fsGroupChangePolicy": "OnRootMismatch"}},
         {"securityContext": {**SPEC["securityContext"], "fsGroup": 0, "supplementalGroups": [7],
                              "fsGroupChangePolicy": "OnRootMismatch"}}),
    ],
)  # fmt: skip
def test_what_is_said_is_there(template: dict[str, Any], changed: dict[str, Any]) -> None:
    assert added(**template) == {**SPEC, **changed}


def test_the_operators_containers_come_first() -> None:
    spec = {**SPEC, "initContainers": [{"name": "runner"}]}
    found = added(spec, initContainers=[PROXY], containers=[{**PROXY, "name": "logs"}])
    assert [one["name"] for one in found["initContainers"]] == ["runner", "proxy"]
    assert [one["name"] for one in found["containers"]] == ["agent", "logs"]


def test_a_container_goes_through_as_it_is_written() -> None:
    written: dict[str, Any] = {
        **PROXY,
        "imagePullPolicy": "Always",
        "command": ["proxy"],
        "args": ["-v"],
        "workingDir": "/srv",
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}],
        "envFrom": [{"secretRef": {"name": "keys"}}, {"configMapRef": {"name": "c", "optional": True}, "prefix": "C_"}],
        "ports": [{"name": "sql", "containerPort": 5432, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": 0.5}, "limits": {"nvidia.com/gpu": 1}},
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
        "readinessProbe": {
            "httpGet": {"port": 5432, "path": "/", "httpHeaders": [{"name": "Host", "value": "a"}]},
            "periodSeconds": 5,
        },
        "livenessProbe": {"tcpSocket": {"port": "sql", "host": ""}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
    }
    assert added(containers=[written])["containers"][1] == {**MADE, **written}


@pytest.mark.parametrize("field", ["containers", "initContainers"])
@pytest.mark.parametrize(
    ("container", "words"),
    [
        *[
            ({"volumeMounts": [{"name": "mine", "mountPath": "/a"}, {"name": name, "mountPath": "/b"}]},
             f"proxy mounts {name}, a volume of the operator's")
            for name in ("config", "tmp", "runner")
        ],
        ({"livenessProbe": {"httpGet": {"host": "169.254.0.1", "port": 80}}}, "livenessProbe of proxy names a host"),
        ({"readinessProbe": {"tcpSocket": {"host": "10.0.0.1", "port": 80}}}, "readinessProbe of proxy names a host"),
        ({"startupProbe": {"httpGet": {"host": "a", "port": 80}}}, "startupProbe of proxy names a host"),
        ({"lifecycle": {"postStart": {"httpGet": {"host": "a", "port": 80}}}}, "lifecycle of proxy names a host"),
        ({"lifecycle": {"preStop": {"any": [{"host": "a"}]}}}, "lifecycle of proxy names a host"),
    ],
)  # fmt: skip
def test_what_reaches_beyond_it_is_refused(field: str, container: dict[str, Any], words: str) -> None:
    template: dict[str, Any] = {field: [{**PROXY, **container}]}
    with pytest.raises(Blocked, match=words) as error:
        added(**template)
    assert error.value.problem.reason == "PodTemplateRejected"
    assert error.value.problem.message.startswith(f"podTemplate.{field}: ")


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {}),
        ({"readOnlyRootFilesystem": False, "runAsUser": 7, "runAsGroup": 0},
         {"readOnlyRootFilesystem": False, "runAsUser": 7, "runAsGroup": 0}),
        ({"seccompProfile": {"type": "Localhost", "localhostProfile": "voice.json"}},
         {"seccompProfile": {"type": "Localhost", "localhostProfile": "voice.json"}}),
        ({"capabilities": {"drop": ["NET_RAW"]}}, {}),
        ({"capabilities": {"drop": [], "add": ["NET_BIND_SERVICE"]}},
         {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}),
        # What gets past the API server, as if a CRD of another release were there, is not taken either.
        ({"privileged": True, "allowPrivilegeEscalation": True, "runAsNonRoot": False}, {}),
    ],
)  # fmt: skip
def test_rights_are_those_of_restricted_at_most(given: dict[str, Any], changed: dict[str, Any]) -> None:
    least = {**RESTRICTED, "readOnlyRootFilesystem": True}
    assert container_rights(least, ContainerSecurity.model_validate(given)) == {**least, **changed}
    assert container_rights(least, None) == least
    pod = {key: value for key, value in given.items() if key in ("runAsNonRoot", "privileged")}
    assert added(securityContext=pod)["securityContext"] == SPEC["securityContext"]


@pytest.mark.parametrize(
    ("template", "user"),
    [({}, None), ({"runAsUser": 7}, 7), ({"securityContext": {"runAsUser": 8}}, 8), ({"securityContext": {}}, None)],
)
def test_whose_user_it_is(template: dict[str, Any], user: int | None) -> None:
    assert user_of(AgentPodTemplate.model_validate(template)) == user
