"""Another Kubernetes than the pinned one: what is asked for, and the module that it is built from."""

import dataclasses

import pytest

from tests.cluster import kubernetes_version, tools
from tests.cluster.errors import ClusterError

STAGED = ["k8s.io/client-go", "k8s.io/api"]


def module(version: str) -> tools.Module:
    made = kubernetes_version.go_mod(version, "1.22.0", STAGED)
    return dataclasses.replace(tools.KUBERNETES, name=f"kubernetes-{version}", go_mod=made)


def test_the_published_modules_of_a_release_are_those_of_its_number() -> None:
    assert kubernetes_version.go_mod("v1.33.6", "1.24.0", STAGED).splitlines()[2:] == [
        "go 1.24.0",
        "",
        "require k8s.io/kubernetes v1.33.6",
        "",
        "replace (",
        "\tk8s.io/api => k8s.io/api v0.33.6",
        "\tk8s.io/client-go => k8s.io/client-go v0.33.6",
        ")",
    ]


def test_a_binary_knows_its_release() -> None:
    assert "-X k8s.io/component-base/version.gitVersion=v1.33.6" in " ".join(module("v1.33.6").flags())


def test_each_release_is_built_once_and_the_pinned_one_as_ever() -> None:
    keys = {tools.key(one) for one in (module("v1.33.6"), module("v1.33.7"), tools.KUBERNETES)}
    assert len(keys) == 3
    assert tools.key(module("v1.33.6")) in keys


def test_nothing_asked_for_is_the_pinned_one() -> None:
    assert kubernetes_version.module("") is tools.KUBERNETES


@pytest.mark.parametrize("asked", ["1", "2.0", "1.x", "1.33-beta", "latest", "1.33 --help", ""])
def test_what_is_no_version_is_refused(asked: str) -> None:
    with pytest.raises(ClusterError, match=r"must be like 1\.33 or 1\.33\.6"):
        kubernetes_version.release(asked)
