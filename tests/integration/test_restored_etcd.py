"""etcd put back to an earlier state, as administrators do after a loss, beside an operator that goes on running."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from livekit_operator.constants import LABEL_MANAGED_BY, MANAGED_BY
from livekit_operator.engine.cache import key_of
from tests.fakes import manifests
from tests.fakes.waiting import eventually, eventually_async
from tests.harness.api import Api, Manifest
from tests.harness.control_plane import ControlPlane
from tests.harness.invariants import OWN_KINDS, all_violations
from tests.integration.api_proxy import ApiProxy, api_proxy
from tests.integration.conftest import create_namespace
from tests.integration.operated import Operated, operated
from tests.integration.own_cluster import own_cluster

NAMESPACE = "team"
ALICE, BOB, CAROL = ({"identity": name} for name in ("alice", "bob", "carol"))
SECONDS = 60.0
"""From the moment at which the API server is ready again until the operator knows what there is, and says so."""
REST_SECONDS = 5.0
"""So long nothing is written; servers and pools are looked at more often than every second."""


@dataclass
class Stage:
    """A control plane, and an operator on the other side of a proxy."""

    plane: ControlPlane
    proxy: ApiProxy
    operator: Operated

    async def differences(self) -> list[str]:
        """Return what the caches know otherwise than the API server."""
        context, found = self.operator.runtime.context, []
        for kind, cache in (*context.resources.items(), *context.children.items()):
            listed = await self.operator.api.list(kind, NAMESPACE)
            ours = kind in OWN_KINDS
            there = {key_of(one): _version(one) for one in listed if ours or _is_child(one)}
            known = {key_of(one): _version(one) for one in cache}
            found += [f"{kind} {key}" for key, _ in there.items() ^ known.items()]
        return found

    async def untruths(self) -> list[str]:
        """Return what statuses say that is not so, or not of the present spec, and which tokens are missing."""
        world = {kind: await self.operator.api.list(kind, NAMESPACE) for kind in (*OWN_KINDS, "Pod", "ConfigMap")}
        secrets = {one["metadata"]["name"] for one in await self.operator.api.list("Secret", NAMESPACE)}
        found = all_violations(world, settled=True)
        for kind in OWN_KINDS:
            for one in world[kind]:
                name, status = one["metadata"]["name"], one.get("status") or {}
                told = {condition["type"]: condition for condition in status.get("conditions") or ()}
                if status.get("observedGeneration") != one["metadata"]["generation"]:
                    found.append(f"{kind} {name} is not looked at")
                if told.get("Ready", {}).get("status") != "True" or told.get("Degraded", {}).get("status") == "True":
                    found.append(f"{kind} {name}: {told}")
        for room in world["MeetingRoom"]:
            name = room["metadata"]["name"]
            there = self.operator.livekit.rooms[name].participants if name in self.operator.livekit.rooms else None
            if there is None or (room.get("status") or {}).get("participants") != len(there):
                found.append(f"{name}: {there} are there")
            wanted = {f"{name}-{token['identity']}" for token in room["spec"]["tokens"]}
            if {secret for secret in secrets if secret.startswith(f"{name}-")} != wanted:
                found.append(f"{name}: {secrets}")
        return found

    async def until_true(self) -> None:
        """Wait until the caches are what the API server has, and statuses and tokens are what they should be."""
        found: list[str] = []

        async def is_true() -> bool:
            found[:] = [*await self.differences(), *await self.untruths()]
            return not found

        try:
            await eventually_async(is_true, "the truth", seconds=SECONDS)
        except AssertionError as error:
            raise AssertionError("\n".join(found)) from error

    async def comes_to_rest(self) -> None:
        """Wait until nothing is written any more, while everything is looked at again and again."""
        writes, since = -1, time.monotonic()

        def rests() -> bool:
            nonlocal writes, since
            if len(self.operator.kubernetes.writes) != writes:
                writes, since = len(self.operator.kubernetes.writes), time.monotonic()
            return time.monotonic() - since > REST_SECONDS

        await eventually(rests, "rest", seconds=SECONDS)


def _version(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"]["uid"], manifest["metadata"]["resourceVersion"]


def _is_child(manifest: Manifest) -> bool:
    labels = manifest["metadata"].get("labels") or {}
    return bool(labels.get(LABEL_MANAGED_BY) == MANAGED_BY)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with own_cluster(tmp_path) as (plane, api):
        await create_namespace(api, NAMESPACE)
        async with api_proxy(api.configuration) as proxy:
            operators = Api(proxy.configuration)
            try:
                async with operated(operators, NAMESPACE) as operator:
                    yield Stage(plane, proxy, replace(operator, api=api))
            finally:
                await operators.close()


async def as_it_was(operator: Operated) -> None:
    """Make what the backup has."""
    await operator.with_server()
    await operator.with_pool()
    for name in ("stays", "changes", "comes-back"):
        await operator.create(manifests.room(name, tokens=[ALICE]))
    for name in ("stays", "changes", "comes-back"):
        await operator.reason("MeetingRoom", name)


async def what_is_lost(operator: Operated) -> None:
    """Change what the backup has, and wait until the operator has done its part."""
    operator.livekit.join("stays", "alice")
    await operator.patch("MeetingRoom", "changes", {"spec": {"tokens": [ALICE, BOB]}})
    await operator.api.delete("MeetingRoom", NAMESPACE, "comes-back")
    await operator.create(manifests.room("made-later", tokens=[ALICE]))
    await operator.api.delete("Service", NAMESPACE, "voice-livekit")
    await operator.patch("VoiceAgentPool", "front-desk", {"spec": {"agent": {"greeting": "Good morning."}}})

    async def rolled_out() -> bool:
        await operator.run_pods()
        pool = await operator.get("VoiceAgentPool", "front-desk")
        return bool(pool["status"]["observedGeneration"] == 2 and manifests.ready_condition(pool)["status"] == "True")

    await operator.until("the other version", rolled_out)
    await operator.gone("MeetingRoom", "comes-back")
    await operator.get("Service", "voice-livekit")


async def numbers_go_back(stage: Stage, newest: int) -> None:
    """Do as `etcdctl snapshot restore` does."""
    await stage.plane.restore("backup")
    await stage.plane.start()


async def numbers_go_on(stage: Stage, newest: int) -> None:
    """Do as is advised for Kubernetes: `etcdutl snapshot restore --bump-revision --mark-compacted`."""
    await stage.plane.restore("backup", revision=newest + 1000)
    await stage.plane.start()


async def numbers_catch_up(stage: Stage, newest: int) -> None:
    """Let others write as much as was lost before the operator finds anybody."""
    stage.proxy.close()
    await numbers_go_back(stage, newest)
    # The generation of a change that is lost, which is the one that the operator remembers.
    await stage.operator.patch("MeetingRoom", "changes", {"spec": {"tokens": [ALICE, CAROL]}})
    await stage.operator.api.delete("Secret", NAMESPACE, "stays-alice")
    assert await stage.plane.revision() < newest
    await stage.plane.write_until(newest + 10)
    stage.proxy.open()


@pytest.mark.parametrize("restore", [numbers_go_back, numbers_go_on, numbers_catch_up])
async def test_the_operator_knows_what_there_is_after_etcd_was_put_back(
    stage: Stage, restore: Callable[[Stage, int], Awaitable[None]]
) -> None:
    await as_it_was(stage.operator)
    await stage.until_true()
    stage.plane.save("backup")
    await stage.plane.write_until(await stage.plane.revision() + 100)
    await what_is_lost(stage.operator)
    await stage.until_true()
    newest = await stage.plane.revision()
    await stage.plane.crash()
    await restore(stage, newest)
    began = time.monotonic()
    await stage.until_true()
    print(f"\nafter {time.monotonic() - began:.1f} s")
    await stage.comes_to_rest()
    await stage.operator.create(manifests.room("new", tokens=[ALICE]))
    await stage.until_true()
