"""Children of a resource: made as desired, left alone where they are others', and told of where they are changed."""

import pytest

from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Conflict, KubernetesError, NotOwned
from livekit_operator.manifests.metadata import COMPONENT_ROOM, child, opaque_secret
from livekit_operator.reconciling.children import ensure
from tests.fakes import manifests, models
from tests.fakes.world import World


async def test_a_child_of_a_new_owner_is_made_without_being_looked_up() -> None:
    world, owner = World(), models.room()
    desired = opaque_secret(owner, COMPONENT_ROOM, "s", {"a": "b"})
    made = await ensure(world.context, owner, desired, new=True)
    assert (world.kubernetes.reads, world.written()) == ([], ["create Secret/s"])
    assert await ensure(world.context, owner, desired, new=True) == made
    assert world.written() == ["create Secret/s"]


async def test_a_child_that_is_there_after_all_is_made_as_desired() -> None:
    """The operator died after it had made it, and its cache is behind."""
    world, owner = World(), models.room()
    await ensure(world.context, owner, opaque_secret(owner, COMPONENT_ROOM, "s", {"a": "b"}))
    world.context.children["Secret"].remove(("team", "s"))
    world.forget()
    made = await ensure(world.context, owner, opaque_secret(owner, COMPONENT_ROOM, "s", {"a": "c"}), new=True)
    assert world.written() == ["create Secret/s", "apply Secret/s"]
    assert manifests.decoded(made) == {"a": "c"}


async def test_somebody_elses_object_is_left_alone_by_a_new_owner_too() -> None:
    world, owner = World(), models.room()
    foreign = world.kubernetes.put(manifests.secret("s", mine="yes"))
    with pytest.raises(NotOwned):
        await ensure(world.context, owner, opaque_secret(owner, COMPONENT_ROOM, "s", {"a": "b"}), new=True)
    assert world.get("Secret", "s") == foreign


async def test_a_child_that_was_orphaned_since_is_not_its_owners_again() -> None:
    world, owner = World(), models.room()
    desired = opaque_secret(owner, COMPONENT_ROOM, "support-42-alice", {"token": "t"})
    await ensure(world.context, owner, desired)
    world.kubernetes.listeners.clear()  # the watch is late
    orphaned = {"metadata": {"ownerReferences": None}}
    world.kubernetes.edit("Secret", owner.metadata.namespace, "support-42-alice", orphaned)
    with pytest.raises(Conflict):
        await ensure(world.context, owner, opaque_secret(owner, COMPONENT_ROOM, "support-42-alice", {"token": "later"}))
    assert "ownerReferences" not in world.get("Secret", "support-42-alice")["metadata"]


INVALID = KubernetesError(422, "Invalid", "spec.ports[1].name: Duplicate value")
PORTS = [{"name": "signal", "port": 80}]


async def changed_service(world: World) -> MeetingRoom:
    """Have a policy that changes a port's number, with which Services are merged, and a Service that it changed."""

    def policy(manifest: Manifest) -> None:
        manifest["spec"]["ports"] = [{**port, "port": 9} for port in manifest["spec"]["ports"]]

    owner = models.room()
    world.kubernetes.policies.append(policy)
    await ensure(world.context, owner, service(owner))
    world.kubernetes.fail("apply", "Service", INVALID)  # ours beside the changed one
    world.forget()
    return owner


def service(owner: MeetingRoom) -> Manifest:
    return child(owner, COMPONENT_ROOM, "Service", "v1", "s", spec={"ports": PORTS})


def told(world: World, owner: MeetingRoom) -> list[str]:
    """Return what is told of changed children."""
    return [held.problem.message for held in world.context.brakes_of(owner).children.told(world.clock())]


async def test_an_item_whose_key_a_policy_changes_is_told_and_tried_seldom(world: World) -> None:
    owner, desired = await changed_service(world), service(models.room())
    for _ in range(300):
        await ensure(world.context, owner, desired)
        world.clock.advance(1)
    assert world.written() == ["merge Service/s"] * 4, "after 10, 30, 70 and 150 s"
    (message,) = told(world, owner)
    assert message.startswith("Service s is not kept as this operator writes it: spec.ports[0].port was changed by an")

    world.kubernetes.policies.clear()
    world.kubernetes.heal()
    world.clock.advance(300)
    made = await ensure(world.context, owner, desired)
    assert made["spec"]["ports"] == PORTS
    assert not told(world, owner)


async def test_an_item_whose_key_was_changed_before_this_operator_began_is_told_too(world: World) -> None:
    owner = await changed_service(world)
    world.context.brakes.clear()
    await ensure(world.context, owner, service(owner))
    assert world.written() == ["merge Service/s"], "what is refused is not counted"
    assert "spec.ports[0].port" in "".join(told(world, owner))


async def test_what_a_policy_made_of_it_and_cannot_be_changed_is_told_too(world: World) -> None:
    owner = await changed_service(world)
    world.kubernetes.fail("merge", "Service", INVALID)
    world.clock.advance(11)
    await ensure(world.context, owner, service(owner))
    assert "spec.ports[0].port" in "".join(told(world, owner))


async def test_what_is_refused_for_its_own_sake_is_no_change_of_others(world: World) -> None:
    owner = models.room()
    await ensure(world.context, owner, service(owner))
    world.kubernetes.fail("apply", "Service", INVALID)
    world.kubernetes.fail("merge", "Service", INVALID)
    desired = child(owner, COMPONENT_ROOM, "Service", "v1", "s", spec={"ports": [*PORTS, *PORTS]})
    with pytest.raises(KubernetesError):
        await ensure(world.context, owner, desired)
    assert not told(world, owner)


async def test_what_a_person_changes_is_applied_and_no_more(world: World) -> None:
    owner = models.room()
    await ensure(world.context, owner, service(owner))
    world.forget()
    world.kubernetes.edit("Service", "team", "s", {"spec": {"ports": [{"name": "signal", "port": 81}]}})
    await ensure(world.context, owner, service(owner))
    assert world.written() == ["apply Service/s"]
