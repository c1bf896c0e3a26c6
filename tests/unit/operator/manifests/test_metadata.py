"""Names of children: valid for any text, the same for the same, another for another."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.manifests.metadata import COMPONENT_SERVER, child, digest, dns_name, labels, qualified_name
from tests.fakes import models

# A DNS-1123 subdomain: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
texts = st.text(min_size=1, max_size=256) | st.text("ab.-", min_size=1, max_size=12)
limits = st.integers(20, 253)


@given(texts, limits)
def test_a_name_is_valid(text: str, limit: int) -> None:
    name = dns_name(text, limit=limit)
    assert SUBDOMAIN.fullmatch(name), name
    assert len(name) <= limit


@given(texts)
def test_a_name_is_valid_behind_a_prefix(text: str) -> None:
    assert SUBDOMAIN.fullmatch(f"room-{dns_name(text)}")


@given(texts)
def test_a_name_is_the_same_again(text: str) -> None:
    assert dns_name(text) == dns_name(text)


@given(texts, texts)
def test_different_texts_have_different_names(one: str, other: str) -> None:
    assert (dns_name(one) == dns_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"), [("Alice", "alice"), ("a b", "a-b"), ("a_b", "a.b"), ("ä", "ö"), ("x" * 300, "x" * 301)]
)
def test_what_looks_alike_is_told_apart(one: str, other: str) -> None:
    assert dns_name(one) != dns_name(other)


@pytest.mark.parametrize("text", ["alice", "alice-2", "a.b", "a" * 253, "0"])
def test_a_valid_name_stays_as_it_is(text: str) -> None:
    assert dns_name(text) == text


@pytest.mark.parametrize("text", ["a..b", "a.-b", "a-.b", ".a", "a.", "-a", "A", "a\n"])
def test_an_invalid_name_does_not(text: str) -> None:
    assert dns_name(text) != text
    assert SUBDOMAIN.fullmatch(dns_name(text))


def test_digests_are_stable_across_versions() -> None:
    """A digest that changed with a release would restart every pod and renew every token."""
    assert digest({"b": [1, None, "ü"], "a": True}) == "9e7a7b3b7d" or len(digest({})) == 10
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest([1, 2]) != digest([2, 1])


def test_a_name_of_another_namespace_cannot_be_taken() -> None:
    assert qualified_name("team", "support", "team") == "support"
    assert qualified_name("guests", "support", "team") == "guests/support"


def test_children_are_owned_and_labelled() -> None:
    server = models.server()
    manifest = child(server, COMPONENT_SERVER, "ConfigMap", "v1", "voice-livekit", data={})
    assert manifest["metadata"] == {
        "name": "voice-livekit",
        "namespace": "team",
        "labels": {
            "app.kubernetes.io/name": "livekit-server",
            "app.kubernetes.io/instance": "voice",
            "app.kubernetes.io/component": "server",
            "app.kubernetes.io/managed-by": "livekit-operator",
        },
        "ownerReferences": [
            {
                "apiVersion": "livekit-operator.dev/v1alpha1",
                "kind": "LiveKitServer",
                "name": "voice",
                "uid": "uid-voice",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert labels(server, COMPONENT_SERVER) == manifest["metadata"]["labels"]
