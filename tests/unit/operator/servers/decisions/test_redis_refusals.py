"""Redis' words are found where livekit-server and its client put them, and nowhere else."""

import pytest

from livekit_operator.servers.decisions.redis_refusals import find_last, find_logged

READONLY = "READONLY You can't write against a read only replica."
NOPERM = "NOPERM this user has no permissions to access one of the channels used as arguments"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        pytest.param(
            '{"level":"error","ts":1.5,"logger":"livekit","msg":"could not update node","error":"could not register '
            f'node: {READONLY}"}}',
            READONLY,
            id="JSON",
        ),
        pytest.param(
            '2026-01-01T00:00:00.000Z\tERROR\tlivekit\trouting/redisrouter.go:1\tcould not update node\t{"error": "'
            f'could not register node: {READONLY}"}}',
            READONLY,
            id="text",
        ),
        pytest.param(
            f"redis: 2026/01/01 00:00:00 pubsub.go:168: redis: discarding bad PubSub connection: {NOPERM}",
            NOPERM,
            id="go-redis",
        ),
        pytest.param(f'{{"msg":"x","error":"{NOPERM}"}}\n{{"msg":"y"}}', NOPERM, id="not the last line"),
    ],
)
def test_what_redis_refuses_is_found(log: str, said: str) -> None:
    found = find_logged(log)
    assert found is not None
    assert said.rstrip(".") in found


@pytest.mark.parametrize(
    "log",
    [
        "",
        '{"msg":"participant joined","identity":"READONLY You are mine"}',
        '{"msg":"joined","metadata":"{\\"error\\":\\"READONLY You are mine\\"}"}',
        '{"msg":"x","error":"no room READONLY You are mine"}',
        '{"msg":"x","error":"participant bob: READONLY You are mine"}',
        "READONLY You are mine",
    ],
)
def test_what_participants_say_is_not_taken_for_redis(log: str) -> None:
    assert find_logged(log) is None


@pytest.mark.parametrize("line", [READONLY, f"could not register node: {READONLY}", NOPERM])
def test_a_server_that_ended_may_say_so(line: str) -> None:
    assert find_last(line) is not None


@pytest.mark.parametrize("line", ["", "Segmentation fault", "listen tcp :7880: bind: address already in use"])
def test_other_words_are_others(line: str) -> None:
    assert find_last(line) is None
