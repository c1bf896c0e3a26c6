"""A pool comes from one version to the next, and back to one that served, while its calls go on."""

import time

import pytest

from tests.e2e import light_agents, pools
from tests.e2e.conftest import Story
from tests.e2e.pools import on_track, rolled_out, version_of
from tests.e2e.switchboard import enter, meet, switchboard
from tests.harness.install import TEST_KEYS, provider_secret
from tests.harness.kubectl import Manifest
from tests.harness.resources import POOL, quickstart
from tests.harness.watching import Seen, Watched

pytestmark = pytest.mark.one_server("versions")

DEADLINE_SECONDS = 20


@pytest.mark.timeout(300)
async def test_a_version_that_never_serves_is_taken_back_under_a_call(story: Story) -> None:
    rollout = {"progressDeadlineSeconds": DEADLINE_SECONDS}
    await light_agents.serve(story, light_agents.pool(story, rollout=rollout), pools.room("lobby"))
    async with (
        Watched(story.kubectl, "voiceagentpool", POOL) as pool,
        switchboard(story) as board,
        enter(story, "lobby") as guest,
    ):
        first = pool.last.status["revision"]
        agent = await meet(board, guest)
        await pools.change(story, {"agent": light_agents.command(story, *light_agents.CRASHES)})
        broken = await pool.until("another version", lambda s: _wanted_after(s, first))
        failed = await pool.until(
            "the version to have failed",
            lambda s: (line := version_of(s, broken)).get("track") == "Failed" and line,
            seconds=DEADLINE_SECONDS + 40,
        )
        assert "no model file" in failed["message"]
        message = await story.reason("voiceagentpool", POOL, "RolledBack")
        assert broken in message
        assert first in message
        await pool.until(
            "one pod of it to be left",
            lambda s: (line := version_of(s, broken)).get("track") == "Failed" and line.get("replicas") == 1,
        )
        assert on_track(pool.last, "Stable") == first
        assert all(version_of(state, first).get("readyReplicas") for state in pool.states if state.status["versions"])
        # Calls that come now are served as before.
        await story.kubectl.apply(pools.room("later", dispatch="OnCreate"))
        assert [found.version for found in await board.served("later")] == ["1"]

        await pools.change(story, {"agent": light_agents.agent(story, "3")})
        third = await pool.until("the version that was put right", lambda s: _wanted_after(s, broken))
        await pool.until("it to serve", lambda s: on_track(s, "Stable") == third and rolled_out(s), seconds=90)
        await pools.draining(story, agent.pod)
        await story.kubectl.apply(pools.room("last", dispatch="OnCreate"))
        assert [found.version for found in await board.served("last")] == ["3"]
        assert guest.agents == {agent.identity}, "the call that was there all the time was cut"
        assert version_of(pool.last, first)["activeSessions"] == 2
        assert pool.last.status["remainingSessions"] == 2
    # With everybody gone the first version goes too.
    await pools.delete_rooms(story, ["lobby", "later"])
    await pools.gone(story, agent.pod)


@pytest.mark.timeout(420)
async def test_a_version_that_could_not_start_goes_on_once_it_can(story: Story) -> None:
    rollout = {"progressDeadlineSeconds": DEADLINE_SECONDS}
    await light_agents.serve(story, light_agents.pool(story, rollout=rollout), pools.room("lobby"))
    async with (
        Watched(story.kubectl, "voiceagentpool", POOL) as pool,
        switchboard(story) as board,
        enter(story, "lobby") as guest,
    ):
        first = pool.last.status["revision"]
        agent = await meet(board, guest)
        waits = light_agents.agent(story, "2", command=list(light_agents.WAITS))
        await pools.change(story, {"agent": waits})
        second = await pool.until("another version", lambda s: _wanted_after(s, first))
        await pool.until("it to have failed", lambda s: version_of(s, second).get("track") == "Failed", seconds=60)
        assert "still tried" in await story.reason("voiceagentpool", POOL, "RolledBack")
        await story.kubectl.apply(pools.room("meanwhile", dispatch="OnCreate"))
        assert [found.version for found in await board.served("meanwhile")] == ["1"]

        await story.kubectl.apply(_service(light_agents.WAITS_FOR))
        back = time.monotonic()
        await pool.until(
            "it to serve", lambda s: on_track(s, "Stable") == second and rolled_out(s), seconds=150, since=back
        )
        await pools.draining(story, agent.pod)
        await story.kubectl.apply(pools.room("later", dispatch="OnCreate"))
        assert [found.version for found in await board.served("later")] == ["2"]
        assert guest.agents == {agent.identity}, "the call that was there all the time was cut"
    await pools.delete_rooms(story, ["lobby", "meanwhile"])
    await pools.gone(story, agent.pod)


@pytest.mark.timeout(240)
async def test_a_pool_goes_back_to_a_version_of_its_history(story: Story) -> None:
    await light_agents.serve(story, light_agents.pool(story))
    async with Watched(story.kubectl, "voiceagentpool", POOL) as pool, switchboard(story) as board:
        first = pool.last.status["revision"]
        await pools.change(story, {"agent": light_agents.agent(story, "2")})
        second = await pool.until("another version", lambda s: _wanted_after(s, first))
        await pool.until("it to serve alone", lambda s: rolled_out(s) and _alone(s, second), seconds=90)
        await pool.until("the first to be history", lambda s: version_of(s, first).get("track") == "History")

        (late,) = await pools.pods(story)
        back = time.monotonic()
        await pools.change(story, {"rollout": {"rollbackTo": first}})
        await pool.until("the first to serve alone", lambda s: rolled_out(s) and _alone(s, first), since=back)
        await pools.draining(story, late["metadata"]["name"])
        await story.kubectl.apply(pools.room("back", dispatch="OnCreate"))
        assert [found.version for found in await board.served("back")] == ["1"]
        assert {pools.revision(pod) for pod in await pools.pods(story)} == {first}

        await pools.change(story, {"rollout": {"rollbackTo": "nosuchrevision"}})
        message = await story.reason("voiceagentpool", POOL, "RevisionNotFound")
        assert "nosuchrevision" in message
        assert "spec.rollout.rollbackTo" in message
        on = time.monotonic()
        await pools.change(story, {"rollout": {"rollbackTo": None}})
        await pool.until(
            "the second to serve again", lambda s: rolled_out(s) and on_track(s, "Stable") == second, since=on
        )


@pytest.mark.timeout(300)
async def test_a_providers_new_key_replaces_the_pods_and_not_the_version(story: Story) -> None:
    _, manifest, _ = quickstart()
    manifest["metadata"]["name"] = POOL
    manifest["spec"] |= {"idleProcesses": 1, "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}
    await story.kubectl.apply(provider_secret({**TEST_KEYS, "openai": "former-key"}))
    await light_agents.serve(story)
    await story.kubectl.apply(manifest)
    message = await story.reason("voiceagentpool", POOL, "ProviderRejected", seconds=90)
    assert all(word in message for word in ("spec.agent.llm.apiKeySecretRef", "openai", "401")), message
    assert "former-key" not in message
    revision = (await story.kubectl.get("voiceagentpool", POOL))["status"]["revision"]
    (old,) = await pools.pods(story)

    await story.kubectl.apply(provider_secret(TEST_KEYS))
    (pool,) = await story.ready("voiceagentpool", POOL)
    await pools.gone(story, old["metadata"]["name"])
    assert {pools.revision(pod) for pod in await pools.pods(story)} == {revision}
    assert [line["revision"] for line in pool["status"]["versions"]] == [revision]


def _service(name: str) -> Manifest:
    """Return a Service that leads nowhere: its name can be resolved."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}


def _wanted_after(state: Seen, revision: str) -> str:
    """Return the revision that is asked for once it is another one."""
    found = str(state.status.get("revision", ""))
    return found if found != revision else ""


def _alone(state: Seen, revision: str) -> bool:
    return [line["revision"] for line in state.status["versions"] if line.get("replicas")] == [revision]
