"""The scale subresource of a pool: whoever writes it says how many pods there are, and the operator never does."""

from typing import Any

import pytest

from livekit_operator.constants import FIELD_MANAGER
from tests.harness.api import Api
from tests.integration.operated import Operated, operated

POOL = "front-desk"


@pytest.mark.parametrize("scaling", [{}, {"autoscaling": {"mode": "External"}}], ids=["none", "External"])
async def test_replicas_are_whoever_scales_by_the_subresource_has_written(
    api: Api, namespace: str, scaling: dict[str, Any]
) -> None:
    async with operated(api, namespace) as operator:
        await operator.with_server()
        await operator.with_pool(replicas=1, **scaling)
        for replicas in (3, 1):
            await scale_to(operator, replicas)
        pool = await operator.get("VoiceAgentPool", POOL)
        assert "spec.replicas" in pool["status"]["desiredReason"]
        for entry in pool["metadata"]["managedFields"]:
            assert entry["manager"] != FIELD_MANAGER or "f:spec" not in entry["fieldsV1"], "the operator wrote the spec"


async def scale_to(operator: Operated, replicas: int) -> None:
    """Ask for so many pods, and wait until there are as many, by the subresource's own selector."""
    path = f"/apis/livekit-operator.dev/v1alpha1/namespaces/{operator.namespace}/voiceagentpools/{POOL}/scale"
    patch = {"spec": {"replicas": replicas}}
    (await operator.api.request("PATCH", path, patch, content_type="application/merge-patch+json")).accepted()

    async def done() -> bool:
        await operator.run_pods()
        scale = (await operator.api.request("GET", path)).accepted()
        assert (scale["kind"], scale["apiVersion"], scale["spec"]["replicas"]) == ("Scale", "autoscaling/v1", replicas)
        # What an autoscaler finds the pods by, to measure them.
        pods = await operator.api.list("pods", operator.namespace, scale["status"]["selector"])
        return bool(scale["status"]["replicas"] == len(pods) == replicas)

    await operator.until(f"{replicas} pods", done)
