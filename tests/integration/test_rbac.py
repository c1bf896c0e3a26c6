"""The chart's own ServiceAccount: it may do what the operator needs, and no more."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from livekit_operator.resources.metadata import COMPONENT_SERVER
from tests.fakes import manifests
from tests.integration.api import Api
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
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{self.namespace}:{self.name}",
                "groups": [
                    "system:serviceaccounts",
                    f"system:serviceaccounts:{self.namespace}",
                    "system:authenticated",
                ],
                "resourceAttributes": {**attributes, "subresource": subresource},
            },
        }
        answer = await self.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
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
    ("create", "", "events", ""),
    ("list", "apiextensions.k8s.io", "customresourcedefinitions", ""),
    ("watch", "apiextensions.k8s.io", "customresourcedefinitions", ""),
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
    ("get", "gateway.networking.k8s.io", "gateways", ""),
    ("create", "cert-manager.io", "issuers", ""),
    *[(verb, "", "namespaces", "") for verb in ("create", "delete", "patch")],
    ("impersonate", "", "serviceaccounts", ""),
    ("create", "", "serviceaccounts", "token"),
    ("list", "", "persistentvolumes", ""),
    ("list", "", "events", ""),
    *[(verb, "rbac.authorization.k8s.io", "roles", "") for verb in ("list", "create", "bind", "escalate")],
    *[(verb, "rbac.authorization.k8s.io", "clusterroles", "") for verb in ("list", "create", "bind", "escalate")],
    *[(verb, "rbac.authorization.k8s.io", "clusterrolebindings", "") for verb in ("create", "patch")],
    *[(verb, "apiextensions.k8s.io", "customresourcedefinitions", "") for verb in ("create", "patch", "delete")],
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
