"""Where the API server serves each kind."""

import pytest

from livekit_operator.api.kinds import KINDS
from livekit_operator.clients.api_resources import RESOURCES


@pytest.mark.parametrize(
    ("kind", "place", "path"),
    [
        ("Pod", ("n", "x"), "/api/v1/namespaces/n/pods/x"),
        ("Deployment", ("n", "x"), "/apis/apps/v1/namespaces/n/deployments/x"),
        ("LiveKitServer", ("n", "x"), "/apis/livekit-operator.dev/v1alpha1/namespaces/n/livekitservers/x"),
        ("Pod", ("n", "x", "status"), "/api/v1/namespaces/n/pods/x/status"),
        ("Secret", ("n",), "/api/v1/namespaces/n/secrets"),
        ("Secret", (), "/api/v1/secrets"),
        ("Node", (None, "x"), "/api/v1/nodes/x"),
    ],
)
def test_each_kind_has_its_place(kind: str, place: tuple[str | None, ...], path: str) -> None:
    assert RESOURCES[kind].path(*place) == path


def test_an_object_says_what_it_is() -> None:
    assert RESOURCES["Deployment"].type_meta == {"apiVersion": "apps/v1", "kind": "Deployment"}


def test_the_operators_own_kinds_are_among_them() -> None:
    own = {kind.kind: kind.plural for kind in KINDS}
    assert {name: RESOURCES[name].plural for name in own} == own
