"""Which server a resource names, read as it came."""

from typing import Any

import pytest

from livekit_operator.servers.links import is_undeclared, server_of, undeclared_room


@pytest.mark.parametrize("spec", [None, {}, {"serverRef": None}, {"serverRef": {}}, {"serverRef": {"namespace": "b"}}])
def test_a_resource_of_other_crds_may_name_no_server(spec: Any) -> None:
    assert server_of({"metadata": {"namespace": "a", "name": "x"}, "spec": spec}) is None


@pytest.mark.parametrize(("namespace", "expected"), [(None, ("a", "voice")), ("b", ("b", "voice"))])
def test_a_server_is_in_the_namespace_of_the_resource_unless_it_names_one(
    namespace: str | None, expected: tuple[str, str]
) -> None:
    reference = {"name": "voice", **({"namespace": namespace} if namespace else {})}
    assert server_of({"metadata": {"namespace": "a", "name": "x"}, "spec": {"serverRef": reference}}) == expected


def test_a_room_without_a_resource_is_told_from_one_that_has_one() -> None:
    assert is_undeclared(undeclared_room(("team", "voice"), "lobby"))
    assert not is_undeclared(("team", "lobby"))
