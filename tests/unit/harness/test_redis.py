"""A story's Redis keeps its passwords in Secrets, and says where each is."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.cluster import layout
from tests.harness import redis
from tests.harness.kubectl import Kubectl, Manifest
from tests.harness.redis import PASSWORD_KEY, Redis
from tests.harness.target import Target

Run = Callable[[Kubectl], Awaitable[Redis]]


class Recorder(Kubectl):
    """Takes what is applied, and answers as a Redis does that is well."""

    def __init__(self) -> None:
        super().__init__(Target(Path("/nowhere"), "nowhere", local=True), "story")
        self.applied: list[Manifest] = []
        self.commands: list[str] = []

    async def __call__(self, *words: str, stdin: str | None = None) -> str:
        self.commands.append(" ".join((*words, stdin or "")))
        return "PONG\n" if words[-1] == "PING" else "cluster_state:ok\n"

    async def apply(self, *manifests: Manifest) -> None:
        self.applied += manifests

    def named(self, kind: str, name: str) -> Manifest:
        return next(m for m in self.applied if (m["kind"], m["metadata"]["name"]) == (kind, name))


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images.json").write_text('{"redis": "redis:test"}')
    monkeypatch.setattr(layout, "IMAGES", tmp_path / "images.json")


@pytest.mark.parametrize("run", [redis.run_plain, redis.run_tls, redis.run_sentinel, redis.run_cluster])
async def test_a_password_is_in_secrets_only(run: Run) -> None:
    kubectl = Recorder()
    made = await run(kubectl)
    named = filter(None, (made.password_secret, made.sentinel_password_secret))
    passwords = [kubectl.named("Secret", name)["stringData"][PASSWORD_KEY] for name in named]
    assert all(len(password) == 32 for password in passwords)
    elsewhere = json.dumps([m for m in kubectl.applied if m["kind"] != "Secret"]) + json.dumps(kubectl.commands)
    assert not any(password in elsewhere for password in passwords)


@pytest.mark.parametrize(
    ("run", "address", "sentinels", "cluster"),
    [
        (redis.run_plain, "redis.story.svc:6379", (), ()),
        (redis.run_tls, "redis.story.svc:6379", (), ()),
        (redis.run_sentinel, "", ("redis-sentinel.story.svc:26379",), ()),
        (redis.run_cluster, "", (), ("redis.story.svc:6379",)),
    ],
)
async def test_each_kind_says_where_it_is(
    run: Run, address: str, sentinels: tuple[str, ...], cluster: tuple[str, ...]
) -> None:
    kubectl = Recorder()
    made = await run(kubectl)
    assert (made.address, made.sentinel_addresses, made.cluster_addresses) == (address, sentinels, cluster)
    for reached in filter(None, (address, *sentinels, *cluster)):
        host, port = reached.split(":")
        service = kubectl.named("Service", host.split(".")[0])
        assert service["spec"]["ports"] == [{"port": int(port)}]
