"""What the pods of a Deployment had, those of a pool have: other containers, an account, variables of a Secret."""

from typing import Any

import pytest

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server
from tests.harness.kubectl import Manifest
from tests.harness.resources import POOL

WRITES = "open('/shared/word', 'w').write('hello')"
# A first process that does not catch SIGTERM would keep its pod for the whole grace period.
SLEEPS = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"
READS = f"assert open('/shared/word').read() == 'hello'; {SLEEPS}"


def account(**annotations: str) -> Manifest:
    metadata = {"name": "booking", "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def translated(story: Story) -> Manifest:
    """Return a pool with an init container, both kinds of sidecars, an account, and all of a Secret as variables."""
    agent = light_agents.agent(story, envFrom=[{"secretRef": {"name": "keys"}}])
    pool = light_agents.pool(story, agent=agent, resources={"requests": {"cpu": 0.02, "memory": "64Mi"}})

    def container(name: str, code: str, **fields: Any) -> Manifest:
        mount = {"name": "shared", "mountPath": "/shared"}
        command = ["python", "-c", code]
        return {"name": name, "image": agent["image"], "command": command, "volumeMounts": [mount], **fields}

    template = pool["spec"]["podTemplate"]
    template["volumes"].append({"name": "shared", "emptyDir": {}})
    template |= {
        "serviceAccountName": "booking",
        "initContainers": [container("word", WRITES), container("beside", SLEEPS, restartPolicy="Always")],
        "containers": [container("reader", READS)],
        "securityContext": {"fsGroup": 2000},
        "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["crm"]}],
    }
    return pool


@pytest.mark.timeout(240)
async def test_what_a_deployment_had_a_pool_has(story: Story) -> None:
    refused = "ServiceAccountNotAllowed"
    await story.kubectl.apply(server(**node_ports()), light_agents.code_map(), translated(story))
    await story.condition("voiceagentpool", POOL, "Ready", refused, words=["booking", "does not exist"])
    await story.kubectl.apply(account())
    await story.condition("voiceagentpool", POOL, "Ready", refused, words=["kubectl annotate serviceaccount booking"])
    await story.kubectl.apply(account(**{"livekit-operator.dev/allow-agents": "true"}))
    words = ['secret "keys" not found', "Create it, or name another one"]
    await story.condition("voiceagentpool", POOL, "Ready", "PodsFailing", words=words, seconds=90)
    metadata = {"name": "keys"}
    await story.kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"A": "b"}})
    await story.ready("voiceagentpool", POOL)
    # The one that missed the Secret may still be there, as it is replaced.
    pod = next(one for one in await pools.pods(story) if _is_ready(one))
    assert pod["spec"]["serviceAccountName"] == "booking"
    assert not any("serviceaccount" in str(mount) for one in pod["spec"]["containers"] for mount in one["volumeMounts"])
    statuses = [*pod["status"]["containerStatuses"], *pod["status"]["initContainerStatuses"]]
    ready = {one["name"] for one in statuses if one["ready"]}
    assert ready == {"agent", "runner", "word", "beside", "reader"}


def _is_ready(pod: Manifest) -> bool:
    conditions = {one["type"]: one["status"] for one in pod["status"]["conditions"]}
    return conditions.get("Ready") == "True"
