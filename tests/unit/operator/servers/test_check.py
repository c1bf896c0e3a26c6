"""The check of a new configuration, before anything is replaced."""

import pytest

from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.servers.refusals import LIMIT_RANGE
from tests.unit.operator.servers.replicas import SHARED, settled, started


async def test_a_configuration_that_the_server_does_not_take_replaces_nothing(world: World) -> None:
    await world.with_server()
    before = world.server_pods()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"extraConfig": {"nonsense": 1}}})
    await world.reconcile("LiveKitServer", "voice")
    output = "could not parse config: yaml: unmarshal errors:\n  line 1: field nonsense not found in type Config\n"
    await world.pass_check("voice", output)
    await world.settle()
    assert world.server_pods() == before
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "ConfigRejected")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"extraConfig": None}})
    await world.settle()
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")
    assert world.server_pods() == before
    assert not [name for name in world.kubernetes.names("Pod") if "check" in name]


async def test_a_check_that_is_too_small_for_its_namespace_is_made_as_a_server_is(world: World) -> None:
    resources = {"requests": {"cpu": "200m"}}
    await world.with_server(resources=resources)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "debug"}}})
    world.kubernetes.fail("create", "Pod", LIMIT_RANGE, once=True)
    await world.reconcile("LiveKitServer", "voice")
    (check,) = [name for name in world.kubernetes.names("Pod") if "-check-" in name]
    assert world.get("Pod", check)["spec"]["containers"][0]["resources"] == resources
    await world.pass_check()
    await world.settle()
    world.run_server()
    await world.settle()


@pytest.mark.parametrize("output", ["", "unable to connect to redis: dial tcp: connect: connection refused"])
async def test_a_check_that_did_not_pass_is_made_again(world: World, output: str) -> None:
    await started(world, **SHARED)
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"logging": {"level": "warn"}}})
    await world.settle()
    await world.pass_check(output=output)
    await world.reconcile("LiveKitServer", "voice")
    if output:
        assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "RedisUnreachable")
    world.clock.advance(31)
    await world.reconcile("LiveKitServer", "voice")
    await world.reconcile("LiveKitServer", "voice")
    await settled(world)
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("False", "UpToDate")
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")
