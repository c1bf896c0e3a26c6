"""The chart's own ServiceAccount: it may do what the operator needs, and no more."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from livekit_operator.manifests.metadata import COMPONENT_SERVER
from tests.fakes import manifests
from tests.harness.api import Api
from tests.harness.kubectl import CommandError, Kubectl
from tests.harness.target import Target
from tests.integration.chart import of_kind, path_of, render
from tests.integration.operated import operated

_RBAC = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
GROUP = "livekit-operator.dev"


@dataclass
class Account:
    """The ServiceAccount of a chart installed under a name of its own."""

    api: Api
    namespace: str
    name: str
    token: str

    async def may(self, verb: str, group: str, resource: str, subresource: str, *, namespace: str = "default") -> bool:
        """Return what the API server's authorizer says."""
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"]
        user = f"system:serviceaccount:{self.namespace}:{self.name}"
        attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        return await is_allowed(self.api, user, groups, namespace=namespace, **attributes)


async def is_allowed(api: Api, user: str, groups: list[str], **attributes: str) -> bool:
    """Return what the API server's authorizer says to the attributes of a request."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }
    answer = await api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer.accepted()["status"]["allowed"])


@pytest.fixture
async def account(api: Api, namespace: str) -> AsyncIterator[Account]:
    """Apply the chart's RBAC objects and ask for a token, as the kubelet does for the operator's pod."""
    rendered = [m for m in render(release=namespace, namespace=namespace) if m["kind"] in _RBAC]
    for manifest in rendered:
        (await api.apply(path_of(manifest), manifest, "helm")).accepted()
    name = of_kind(rendered, "ServiceAccount")["metadata"]["name"]
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = (await api.request("POST", path, request)).accepted()
    yield Account(api, namespace, name, answer["status"]["token"])
    for manifest in rendered:
        if "namespace" not in manifest["metadata"]:
            (await api.request("DELETE", path_of(manifest))).accepted()


async def test_a_whole_life_without_being_refused(account: Account) -> None:
    """Server, pool and room made, changed by their owner and by hand, and deleted."""
    tokens = [{"identity": "alice"}, {"identity": "bob"}]
    async with operated(account.api, account.namespace, token=account.token) as operator:
        await operator.with_server()
        await operator.with_pool(replicas=2)
        agents = [{"poolRef": {"name": "front-desk"}}]
        await operator.create(manifests.room(tokens=tokens, agents=agents))
        await operator.reason("MeetingRoom", "support-42")
        operator.livekit.join("support-42", "alice")

        await operator.patch("MeetingRoom", "support-42", {"spec": {"tokens": tokens[:1], "maxParticipants": 3}})
        await operator.gone("Secret", "support-42-bob")
        await operator.patch("Service", "voice-livekit", {"spec": {"ports": [{"name": "signal", "port": 1}]}})

        async def put_back() -> bool:
            return bool((await operator.get("Service", "voice-livekit"))["spec"]["ports"][0]["port"] == 7880)

        await operator.until("the Service as it was", put_back)
        await operator.patch("VoiceAgentPool", "front-desk", {"spec": {"replicas": 1}})

        async def scaled_down() -> bool:
            return await operator.run_pods() == 1

        await operator.until("one pod", scaled_down)
        await operator.patch("LiveKitServer", "voice", {"spec": {"logging": {"level": "debug"}}})

        async def changed() -> bool:
            await operator.pass_checks()
            await operator.run_pods(COMPONENT_SERVER)
            return "debug" in str((await operator.find("Pod", "voice-livekit-1") or {}).get("spec"))

        await operator.until("the changed configuration", changed)
        await operator.create(manifests.room("brief", expiresAt="2026-01-01T00:00:00Z"))
        await operator.gone("MeetingRoom", "brief")
        await operator.api.delete("Service", account.namespace, "voice-livekit")
        await operator.get("Service", "voice-livekit")

        for kind, name in (("MeetingRoom", "support-42"), ("VoiceAgentPool", "front-desk"), ("LiveKitServer", "voice")):
            await operator.api.delete(kind, account.namespace, name)
            await operator.gone(kind, name)
        assert operator.livekit.rooms == {}
        assert refused(operator.metrics.registry.collect()) == []


def refused(families: Any) -> list[dict[str, str]]:
    """Return the requests that were answered with 401 or 403. Fails when no request was counted at all."""
    samples = [sample for family in families for sample in family.samples if "kubernetes_requests_total" in sample.name]
    assert len({(s.labels["verb"], s.labels["resource"]) for s in samples}) > 10, "too little was asked to tell"
    return [sample.labels for sample in samples if sample.labels["code"] in ("401", "403")]


MAY = [
    *[(verb, "", "secrets", "") for verb in ("get", "list", "watch", "create", "patch", "delete")],
    *[(verb, "", "configmaps", "") for verb in ("list", "watch", "create", "patch", "delete")],
    *[(verb, "", "pods", "") for verb in ("list", "watch", "create", "patch", "delete")],
    ("get", "", "pods", "log"),
    *[(verb, "", "services", "") for verb in ("list", "watch", "create", "patch", "delete")],
    *[(verb, "", "serviceaccounts", "") for verb in ("get", "create", "patch", "delete")],
    *[(verb, "", "nodes", "") for verb in ("list", "watch")],
    *[(verb, "apps", "deployments", "") for verb in ("list", "watch", "create", "patch", "delete")],
    *[(verb, "policy", "poddisruptionbudgets", "") for verb in ("list", "watch", "create", "patch", "delete")],
    *[(verb, "networking.k8s.io", "ingresses", "") for verb in ("list", "watch", "create", "patch", "delete")],
    *[(verb, "networking.k8s.io", "networkpolicies", "") for verb in ("list", "watch", "create", "patch", "delete")],
    *[(verb, "gateway.networking.k8s.io", "httproutes", "") for verb in ("get", "create", "patch", "delete")],
    *[(verb, "cert-manager.io", "certificates", "") for verb in ("get", "create", "patch", "delete")],
    *[(verb, GROUP, "meetingrooms", "") for verb in ("get", "list", "watch", "patch", "delete")],
    *[(verb, GROUP, "livekitservers", "") for verb in ("get", "list", "watch", "patch")],
    ("patch", GROUP, "livekitservers", "status"),
    ("patch", GROUP, "voiceagentpools", "status"),
    ("patch", GROUP, "meetingrooms", "status"),
    ("update", GROUP, "livekitservers", "finalizers"),
    # What a Gateway's controller says of it, and what the kubelet says of a pod that does not start.
    ("get", "gateway.networking.k8s.io", "gateways", ""),
    *[(verb, "", "events", "") for verb in ("create", "patch", "list")],
]
MUST_NOT = [
    *[(verb, GROUP, "meetingrooms", "") for verb in ("create", "update", "deletecollection")],
    *[(verb, GROUP, "livekitservers", "") for verb in ("create", "update", "delete", "deletecollection")],
    *[(verb, GROUP, "voiceagentpools", "") for verb in ("create", "update", "patch", "delete")],
    *[(verb, "", "pods", "") for verb in ("update", "deletecollection")],
    ("create", "", "pods", "exec"),
    ("create", "", "pods", "attach"),
    ("create", "", "pods", "portforward"),
    ("create", "", "pods", "eviction"),
    ("patch", "", "pods", "ephemeralcontainers"),
    ("deletecollection", "", "secrets", ""),
    ("update", "", "secrets", ""),
    *[(verb, "", "configmaps", "") for verb in ("update", "deletecollection")],
    ("deletecollection", "", "services", ""),
    *[(verb, "", "nodes", "") for verb in ("get", "patch", "delete")],
    ("get", "", "nodes", "proxy"),
    *[(verb, "gateway.networking.k8s.io", "gateways", "") for verb in ("list", "watch", "create", "patch", "delete")],
    ("create", "cert-manager.io", "issuers", ""),
    *[(verb, "", "namespaces", "") for verb in ("create", "delete", "patch")],
    ("impersonate", "", "serviceaccounts", ""),
    ("create", "", "serviceaccounts", "token"),
    ("list", "", "persistentvolumes", ""),
    *[(verb, "", "events", "") for verb in ("watch", "update", "delete", "deletecollection")],
    *[(verb, "rbac.authorization.k8s.io", "roles", "") for verb in ("list", "create", "bind", "escalate")],
    *[(verb, "rbac.authorization.k8s.io", "clusterroles", "") for verb in ("list", "create", "bind", "escalate")],
    *[(verb, "rbac.authorization.k8s.io", "clusterrolebindings", "") for verb in ("create", "patch")],
    *[
        (verb, "apiextensions.k8s.io", "customresourcedefinitions", "")
        for verb in ("list", "watch", "create", "patch", "delete")
    ],
    ("create", "apps", "daemonsets", ""),
    ("create", "batch", "jobs", ""),
    ("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", ""),
    ("approve", "certificates.k8s.io", "signers", ""),
]


async def test_what_it_may_do(account: Account) -> None:
    refused = [case for case in MAY if not await account.may(*case)]
    assert refused == []


async def test_what_it_must_not_do(account: Account) -> None:
    for namespace in ("default", "kube-system", account.namespace):
        allowed = [case for case in MUST_NOT if await account.may(*case, namespace=namespace)]
        assert allowed == []


def test_no_rule_has_a_star() -> None:
    for rule in of_kind(render(), "ClusterRole")["rules"]:
        for field in ("apiGroups", "resources", "verbs"):
            assert "*" not in rule[field]
        assert "nonResourceURLs" not in rule


TEAM = ("--as", "jo", "--as-group", "web-team")
APP_TEAM = Path(__file__).resolve().parents[2] / "examples" / "app-team.yaml"
TEAM_MAY = [
    *[(verb, GROUP, "meetingrooms", "", "") for verb in ("get", "list", "watch", "create", "patch", "delete")],
    ("get", "", "secrets", "checkout-support", ""),
    ("get", "", "secrets", "checkout-customer", ""),
]
TEAM_MUST_NOT = [
    *[(verb, "", "secrets", "", "") for verb in ("get", "list", "watch", "create", "patch", "deletecollection")],
    ("get", "", "secrets", "voice-livekit-keys", ""),
    *[(verb, "", "secrets", "checkout-support", "") for verb in ("patch", "update", "delete")],
    ("patch", GROUP, "meetingrooms", "checkout", "status"),
    ("deletecollection", GROUP, "meetingrooms", "", ""),
    *[(verb, GROUP, "livekitservers", "", "") for verb in ("get", "list", "create", "patch", "delete")],
    *[(verb, GROUP, "voiceagentpools", "", "") for verb in ("get", "create", "patch", "delete")],
    ("create", "", "pods", "", ""),
    ("create", "", "pods", "", "exec"),
    ("create", "rbac.authorization.k8s.io", "rolebindings", "", ""),
]


async def test_the_example_for_app_teams(api: Api, cluster: Target, namespace: str) -> None:
    """A team makes rooms in its namespace, reads the tokens that it may name, and nothing else."""
    role, binding, room = yaml.safe_load_all(APP_TEAM.read_text())
    for manifest in (role, binding, room):
        manifest["metadata"]["namespace"] = namespace
    kubectl = Kubectl(cluster, namespace)
    team, elsewhere = partial(kubectl, *TEAM), partial(kubectl.within("default"), *TEAM)
    await kubectl.apply(role, binding)
    await team("apply", "--server-side", "--filename", "-", stdin=yaml.safe_dump(room))
    await team("patch", "meetingroom", "checkout", "--type", "merge", "--patch", '{"spec": {"maxParticipants": 3}}')
    for name in ("checkout-support", "checkout-stranger"):
        await api.create(manifests.secret(name, namespace, token="t"))
    assert (await team("get", "secret", "checkout-support", "--output", "jsonpath={.data.token}")) == "dA=="
    for refused in (
        partial(team, "get", "secret", "checkout-stranger"),
        partial(team, "get", "secrets"),
        partial(team, "get", "secrets", "--watch"),
        partial(elsewhere, "get", "meetingrooms"),
        partial(elsewhere, "apply", "--server-side", "--filename", "-", stdin=_in(room, "default")),
    ):
        with pytest.raises(CommandError, match="orbidden"):
            await refused()
    may = partial(_team_may, api)
    assert [case for case in TEAM_MAY if not await may(namespace, *case)] == []
    assert [case for case in TEAM_MUST_NOT if await may(namespace, *case)] == []
    assert [case for case in TEAM_MAY if await may("default", *case)] == []
    await team("delete", "meetingroom", "checkout")


def _in(manifest: dict[str, Any], namespace: str) -> str:
    return yaml.safe_dump({**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}})


async def _team_may(
    api: Api, namespace: str, verb: str, group: str, resource: str, name: str, subresource: str
) -> bool:
    attributes = {"verb": verb, "group": group, "resource": resource, "name": name, "subresource": subresource}
    return await is_allowed(api, "jo", ["web-team", "system:authenticated"], namespace=namespace, **attributes)
