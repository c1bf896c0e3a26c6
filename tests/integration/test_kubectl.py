"""What stories read of the API server is what kubectl shows."""

import json

import pytest

from tests.harness.kubectl import CommandError, Kubectl
from tests.harness.target import Target

KINDS = ["ns", "service", "ConfigMap", "meetingrooms,voiceagentpools,lks", "customresourcedefinitions"]


@pytest.mark.parametrize("kinds", KINDS)
async def test_the_same_objects_by_the_same_names(cluster: Target, kinds: str) -> None:
    kubectl = Kubectl(cluster, "default")
    shown = json.loads(await kubectl("get", kinds, "--output", "json"))["items"]
    assert names(await kubectl.find(kinds)) == names(shown)
    if shown:
        one = shown[-1]
        assert names([await kubectl.get(one["kind"], one["metadata"]["name"])]) == names([one])


@pytest.mark.parametrize("words", [("service", "nothing"), ("nothing", "at-all")])
async def test_what_is_not_there_is_told_in_the_same_words(cluster: Target, words: tuple[str, str]) -> None:
    kubectl = Kubectl(cluster, "default")
    with pytest.raises(CommandError) as read:
        await kubectl.get(*words)
    with pytest.raises(CommandError) as shown:
        await kubectl("get", *words)
    assert str(read.value) in str(shown.value)


def names(manifests: list[dict[str, object]]) -> list[tuple[object, object, object]]:
    """Return what each object is and is called."""
    return sorted(
        (one["apiVersion"], one["kind"], one["metadata"]["name"])  # type: ignore[index]
        for one in manifests
    )
