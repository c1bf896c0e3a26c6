"""A caller with nothing but a token Secret is greeted by an agent, asks, and hears the answer."""

import pytest

from tests.caller.call import place_call
from tests.caller.report import heard, said_by_agents
from tests.e2e.conftest import Story
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import POOL, QUICKSTART, ROOM, SERVER, quickstart
from tests.providers.script import ANSWERS, GREETING

# Conversations of real sound, and the quickstart's server has the host ports that everybody's has.
pytestmark = pytest.mark.alone

QUESTION = "What are your opening hours?"


@pytest.mark.timeout(240)
async def test_a_caller_talks_with_an_agent(story: Story) -> None:
    await story.kubectl("apply", "--filename", str(QUICKSTART))
    (server,) = await story.ready("livekitserver", SERVER)
    (pool,) = await story.ready("voiceagentpool", POOL)
    (room,) = await story.ready("meetingroom", ROOM)
    assert pool["status"]["readyReplicas"] == 1
    assert room["status"]["tokens"][0]["secretName"] == f"{ROOM}-alice"

    secret = await story.kubectl.secret(f"{ROOM}-alice")
    assert secret["url"] == server["status"]["externalUrl"]
    assert secret["internalUrl"] == server["status"]["internalUrl"]
    report = await place_call(secret, say=[QUESTION])

    said = {*said_by_agents(report), *heard(report)}
    assert GREETING in said
    assert ANSWERS[QUESTION] in said
    assert report.disconnect_reason is None
    media = next(port for port in server["status"]["ports"] if port["name"] == "media")
    assert report.paths, "no transport was reported"
    for path in report.paths:
        assert path.protocol == "udp"
        assert path.lies_in(range(media["port"], media["endPort"] + 1)), str(path)

    async def everybody_left() -> bool:
        status = (await story.kubectl.get("meetingroom", ROOM))["status"]
        return bool(status["participants"] == 0 and status["agentsJoined"] == 0)

    await until("the room to be empty again", everybody_left, seconds=30)
    again = await place_call(secret, say=[QUESTION])
    assert ANSWERS[QUESTION] in {*said_by_agents(again), *heard(again)}, (
        "a second caller of the same room gets an agent too"
    )


@pytest.mark.timeout(240)
async def test_an_agent_hears_with_limits_of_its_own(story: Story) -> None:
    server, pool, room = quickstart()
    # Of a noisy line; and video would be received, if there were any.
    noisy = {"minSpeechDurationMs": 120, "activationThreshold": 0.6, "minSilenceDurationMs": 350}
    pool["spec"]["agent"] |= {"vad": noisy, "noiseSuppression": True, "audioOnly": False}
    await story.kubectl.apply(server, pool, room)
    await story.ready("voiceagentpool", POOL)
    await story.ready("meetingroom", ROOM)
    report = await place_call(await story.kubectl.secret(f"{ROOM}-alice"), say=[QUESTION])
    assert ANSWERS[QUESTION] in {*said_by_agents(report), *heard(report)}


OPENAI = {"provider": "openai", "apiKeySecretRef": {"name": "providers", "key": "openai"}}


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("roles", "without"),
    [
        pytest.param({"stt": OPENAI, "tts": OPENAI}, (), id="OpenAI's protocol alone"),
        pytest.param({"realtime": OPENAI}, ("stt", "llm", "tts"), id="a realtime model"),
        pytest.param({"turnHandling": {"detection": "semantic"}, "preset": "Fast"}, (), id="the turn model"),
    ],
)
async def test_a_caller_talks_with_an_agent_of_other_providers(
    story: Story, roles: dict[str, Manifest], without: tuple[str, ...]
) -> None:
    server, pool, room = quickstart()
    kept = {field: value for field, value in pool["spec"]["agent"].items() if field not in without}
    pool["spec"]["agent"] = kept | roles
    await story.kubectl.apply(server, pool, room)
    (told,) = await story.ready("voiceagentpool", POOL)
    [accepted] = [one for one in told["status"]["conditions"] if one["type"] == "ProvidersAccepted"]
    assert accepted["status"] == "True", accepted["message"]
    await story.ready("meetingroom", ROOM)
    report = await place_call(await story.kubectl.secret(f"{ROOM}-alice"), say=[QUESTION])
    said = {*said_by_agents(report), *heard(report)}
    assert GREETING in said
    assert ANSWERS[QUESTION] in said
