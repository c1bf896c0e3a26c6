"""Owners come back to the children they had: those that were orphaned, and those that a backup brings."""

import json
import time

import pytest

from tests.e2e import pools
from tests.e2e.conftest import MANAGED, Story
from tests.e2e.light_agents import code_map, pool
from tests.e2e.servers import ROOM, node_ports, server
from tests.e2e.switchboard import enter, meet, switchboard
from tests.harness.contents import OWN_KINDS
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import POOL, SERVER

# In an order in which they can be made.
CHILDREN = "serviceaccounts,secrets,configmaps,services,networkpolicies,poddisruptionbudgets,pods"
# What tells of them by a version that is not served: children that name an owner there is not are deleted by
# Kubernetes' garbage collector within a moment, where it can find out.
UNSERVED = "livekit-operator.dev/v1alpha0"
Child = tuple[str, str]


@pytest.mark.timeout(240)
async def test_a_call_goes_on_while_its_owners_are_orphaned_and_applied_again(story: Story) -> None:
    owners = await _apply(story)
    before, secrets = await _children(story), await _secrets(story)
    async with switchboard(story) as board, enter(story, ROOM) as alice:
        agent = await meet(board, alice)
        names = (f"livekitserver/{SERVER}", f"voiceagentpool/{POOL}", f"meetingroom/{ROOM}")
        await story.kubectl("delete", *names, "--cascade=orphan", "--timeout", "30s")
        await board.served(ROOM)
        began = time.monotonic()
        await story.kubectl.apply(*owners)
        await _adopted(story, before)
        print(f"everything was taken over {time.monotonic() - began:.1f} s after the owners were applied again")
        assert await board.served(ROOM) == [agent]
        assert (alice.disconnected, alice.all_agents) == ("", [agent.identity])
    assert await _secrets(story) == secrets
    async with switchboard(story) as board, enter(story, ROOM) as alice:
        await meet(board, alice)


@pytest.mark.timeout(240)
async def test_children_of_a_backup_are_those_of_the_owners_made_after_them(story: Story) -> None:
    owners = await _apply(story)
    backup, secrets = await story.kubectl.find(CHILDREN, MANAGED), await _secrets(story)
    await story.kubectl("delete", OWN_KINDS, "--all", "--timeout", "60s")

    async def all_gone() -> bool:
        return await story.kubectl.find(CHILDREN, MANAGED) == []

    await until("every child to be gone", all_gone)
    items = [_put_back(child, dead=bool(number % 2)) for number, child in enumerate(backup)]
    await story.kubectl(
        "create", "--filename", "-", stdin=json.dumps({"kind": "List", "apiVersion": "v1", "items": items})
    )
    before = await _children(story)
    assert before.keys() == {_child(manifest) for manifest in backup}
    began = time.monotonic()
    await story.kubectl.apply(*owners)
    await _adopted(story, before)
    print(f"{len(before)} children were taken over {time.monotonic() - began:.1f} s after their owners were made")
    assert await _secrets(story) == secrets
    async with switchboard(story) as board, enter(story, ROOM) as alice:
        await meet(board, alice)


async def _apply(story: Story) -> list[Manifest]:
    """Make a server, a pool and a room that is taken over where it is, and return them as they were applied."""
    room = pools.room(ROOM)
    room["spec"]["adopt"] = True
    owners = [server(**node_ports()), pool(story), room]
    await story.kubectl.apply(code_map(), *owners)
    await _ready(story)
    return owners


async def _ready(story: Story) -> dict[str, str]:
    """Wait until all three are ready; return kind -> uid."""
    found = [
        *await story.ready("livekitserver", SERVER),
        *await story.ready("voiceagentpool", POOL),
        *await story.ready("meetingroom", ROOM),
    ]
    return {manifest["kind"]: manifest["metadata"]["uid"] for manifest in found}


async def _adopted(story: Story, before: dict[Child, str]) -> None:
    """Wait until the owners are ready, and the children are theirs: the very same, and no others."""

    async def theirs() -> bool:
        uids = await _ready(story)
        found = await story.kubectl.find(CHILDREN, MANAGED)
        references = [child["metadata"].get("ownerReferences") or [{}] for child in found]
        return all(len(each) == 1 and each[0].get("uid") == uids.get(each[0].get("kind", "")) for each in references)

    await until("every child to have its owner", theirs)
    assert await _children(story) == before


async def _children(story: Story) -> dict[Child, str]:
    """Return kind and name of each child -> its uid."""
    return {_child(child): child["metadata"]["uid"] for child in await story.kubectl.find(CHILDREN, MANAGED)}


def _child(manifest: Manifest) -> Child:
    return manifest["kind"], manifest["metadata"]["name"]


async def _secrets(story: Story) -> tuple[dict[str, str], str]:
    """Return the server's keys and alice's token."""
    keys = await story.kubectl.secret(f"{SERVER}-livekit-keys")
    return keys, (await story.kubectl.secret(f"{ROOM}-alice"))["token"]


def _put_back(child: Manifest, *, dead: bool) -> Manifest:
    """Return a child as backup tools create it: without an owner, or `dead` with one by a uid that is no more."""
    known = child["metadata"]
    metadata = {name: known[name] for name in ("name", "labels", "annotations") if name in known}
    if dead:
        references = [{**each, "uid": "dead", "apiVersion": UNSERVED} for each in known["ownerReferences"]]
        metadata["ownerReferences"] = references
    made = {**child, "metadata": metadata}
    made.pop("status", None)
    if "spec" in made:
        given = ("clusterIP", "clusterIPs", "nodeName")
        made["spec"] = {name: value for name, value in made["spec"].items() if name not in given}
    return made
