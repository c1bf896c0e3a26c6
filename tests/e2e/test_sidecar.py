"""A mesh puts a container of its own first into every pod of servers; nothing changes for servers and callers."""

import json

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import condition, meeting, node_ports, parties, server, server_pods, talk_ways
from tests.harness import install
from tests.harness.kubectl import CommandError, Manifest, until
from tests.harness.resources import SERVER

_GROUP = "admissionregistration.k8s.io/v1"
# One that ends neither by itself nor when it is told to, as some proxies do while connections are open.
_PROXY = (
    '[JSONPatch{{op: "add", path: "/spec/containers/0", value: Object.spec.containers{{'
    'name: "linkerd-proxy", image: "{image}", command: ["sleep", "infinity"], '
    "securityContext: Object.spec.containers.securityContext{{allowPrivilegeEscalation: false, "
    'capabilities: Object.spec.containers.securityContext.capabilities{{drop: ["ALL"]}}}}}}}}]'
)


def mesh(namespace: str, image: str) -> tuple[Manifest, Manifest]:
    """Return the policy that puts the container into pods of servers, checks included, and its binding."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    component = "object.metadata.?labels['app.kubernetes.io/component'].orValue('')"
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "servers", "expression": f"{component}.startsWith('server')"}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": _PROXY.format(image=image)}}],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    binding = {"policyName": namespace, "matchResources": {"namespaceSelector": selector}}
    return (
        _object("MutatingAdmissionPolicy", namespace, spec),
        _object("MutatingAdmissionPolicyBinding", namespace, binding),
    )


def _object(kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": _GROUP, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.mark.timeout(240)
async def test_a_container_that_a_mesh_puts_first_changes_nothing(story: Story) -> None:
    namespace = story.kubectl.namespace
    policies = mesh(namespace, install.find_images(story.platform.target).agent)
    await story.kubectl.apply(*policies)
    try:
        await until("the policy to be in force", lambda: _in_force(story), seconds=30)
        await story.kubectl.apply(server(**node_ports(replicas=2, redis={"managed": {}})), meeting())
        await condition(story, SERVER, "Progressing", "UpToDate", seconds=120)
        before = await server_pods(story)
        assert [_containers(pod) for pod in before] == [["linkerd-proxy", "livekit-server"]] * 2
        assert await talk_ways(await parties(story))

        await story.kubectl.apply(server(**node_ports(replicas=2, redis={"managed": {}}, logging={"level": "debug"})))
        await condition(story, SERVER, "Progressing", "RollingOut")
        await condition(story, SERVER, "Progressing", "UpToDate", seconds=120)
        await until("the check to go", lambda: _no_check(story), seconds=30)
        after = {pod["metadata"]["uid"] for pod in await server_pods(story)}
        assert len(after) == 2
        assert not after & {pod["metadata"]["uid"] for pod in before}
        assert await talk_ways(await parties(story))
    finally:
        for policy in reversed(policies):
            await story.kubectl("delete", policy["kind"].lower(), policy["metadata"]["name"], "--ignore-not-found")


async def _in_force(story: Story) -> bool:
    """Return whether a pod that is only tried out gets the container: the API server learns of policies by a watch."""
    labels = {"app.kubernetes.io/component": "server"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "labels": labels},
        "spec": {"containers": [{"name": "probe", "image": "probe:1"}]},
    }
    try:
        tried = await story.kubectl(
            "create", "--dry-run=server", "--output", "json", "--filename", "-", stdin=json.dumps(pod)
        )
    except CommandError:
        return False  # a new namespace has no ServiceAccount for a moment
    return len(json.loads(tried)["spec"]["containers"]) == 2


def _containers(pod: Manifest) -> list[str]:
    return [container["name"] for container in pod["spec"]["containers"]]


async def _no_check(story: Story) -> bool:
    return not await story.kubectl.find("pods", "app.kubernetes.io/component=server-check")
