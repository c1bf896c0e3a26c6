"""The table of kinds: what else names kinds, or grants rights for them, says the same as the table."""

from pathlib import Path
from typing import Any

import yaml

from livekit_operator.api.kinds import KINDS
from livekit_operator.clients.api_resources import RESOURCES
from livekit_operator.constants import GROUP
from livekit_operator.process.wiring import TABLE, child_kinds
from tests.fakes import manifests
from tests.fakes.world import World

RBAC = Path(__file__).resolve().parents[4] / "charts/livekit-operator/templates/rbac.yaml"
ROWS = [row for row in TABLE.values() if row.resource]

Right = tuple[str, str, str]
READ = ("get", "list", "watch")
WRITE = ("create", "patch", "delete")
# What the kit asks for, whatever kinds there are.
OF_THE_KIT: set[Right] = {
    ("", "pods/log", "get"),
    ("", "nodes", "list"),
    ("", "nodes", "watch"),
    ("", "events", "create"),
    ("", "events", "patch"),
    ("", "events", "list"),
    ("gateway.networking.k8s.io", "gateways", "get"),
}


def granted() -> set[Right]:
    """Return (group, resource, verb) of every rule in the chart's ClusterRole."""
    text = RBAC.read_text()
    rules = yaml.safe_load(text[text.index("rules:") : text.index("---")])["rules"]
    assert all(set(rule) == {"apiGroups", "resources", "verbs"} for rule in rules)
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def of_child(kind: str, *verbs: str) -> set[Right]:
    resource = RESOURCES[kind]
    group, slash, _ = resource.api_version.partition("/")
    return {(group if slash else "", resource.plural, verb) for verb in verbs}


def needed() -> set[Right]:
    """Return what the rows of the table need."""
    found = set(OF_THE_KIT)
    for row in ROWS:
        assert row.resource is not None
        plural = row.resource.plural
        found |= {(GROUP, plural, verb) for verb in READ}
        found |= {(GROUP, f"{plural}/status", "patch"), (GROUP, f"{plural}/finalizers", "update")}
        found |= {(GROUP, plural, "patch")} if row.finalizer else set()
        found |= {(GROUP, plural, "delete")} if row.ends_itself else set()
        for kind in row.children:
            found |= of_child(kind, *READ, *WRITE)
        for kind in row.optional_children:
            found |= of_child(kind, "get", *WRITE)
    return found


def test_every_kind_that_the_cluster_knows_has_a_row() -> None:
    assert [row.resource for row in ROWS] == list(KINDS)
    assert [row.name for row in ROWS] == [kind.kind for kind in KINDS]


def test_every_kind_of_child_is_watched_and_has_a_path() -> None:
    assert set(child_kinds(TABLE)) == {kind for row in ROWS for kind in row.children}
    assert {kind for row in ROWS for kind in (*row.children, *row.optional_children)} <= RESOURCES.keys()


def test_the_chart_grants_what_the_table_needs_and_no_more() -> None:
    assert granted() == needed()


async def test_each_kind_makes_only_the_children_of_its_row(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    agents = [{"poolRef": {"name": "front-desk"}}]
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}], agents=agents))
    await world.settle()
    made: dict[str, set[str]] = {row.name: set() for row in ROWS}
    for (kind, _, _), manifest in world.kubernetes.objects.items():
        owners: list[dict[str, Any]] = manifest["metadata"].get("ownerReferences") or []
        for owner in owners:
            made[owner["kind"]].add(kind)
    assert all(made.values())
    for row in ROWS:
        assert made[row.name] <= {*row.children, *row.optional_children}, row.name
    assert made["VoiceAgentPool"] == set(TABLE["VoiceAgentPool"].children)
    assert made["MeetingRoom"] == set(TABLE["MeetingRoom"].children)
