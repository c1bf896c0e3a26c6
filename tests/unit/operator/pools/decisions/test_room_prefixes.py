"""Which pool serves a room for how its name begins."""

import pytest

from livekit_operator.pools.decisions.room_prefixes import Key, Prefix, preferred, serving_pool

SERVERS = "voice"  # the namespace of the server


def prefix(text: str, pool: str = "desk", namespace: str = SERVERS, created: int = 0) -> Prefix:
    return Prefix((namespace, pool), text, f"2026-01-01T00:00:{created:02}Z")


GENERAL = prefix("voice-agent-", "general")
SPECIAL = prefix("voice-agent-fr-", "special")
OTHERS = prefix("voice-agent-", "desk", "team-b")


@pytest.mark.parametrize(
    ("room", "prefixes", "pool"),
    [
        pytest.param("voice-agent-1", [GENERAL], "general", id="begins with it"),
        pytest.param("voice-agent-", [GENERAL], "general", id="is it"),
        pytest.param("voice-agent", [GENERAL], None, id="is shorter"),
        pytest.param("my-voice-agent-1", [GENERAL], None, id="holds it"),
        pytest.param("Voice-Agent-1", [GENERAL], None, id="case counts"),
        pytest.param("voice-agent-1", [], None, id="there is none"),
        pytest.param("voice-agent-fr-1", [GENERAL, SPECIAL], "special", id="the longest"),
        pytest.param("voice-agent-fr-1", [SPECIAL, GENERAL], "special", id="in any order"),
        pytest.param("voice-agent-de-1", [GENERAL, SPECIAL], "general", id="the only one that fits"),
        pytest.param(
            "voice-agent-1", [prefix("voice-agent-", "new", created=9), GENERAL], "general", id="equal: the older one"
        ),
        pytest.param(
            "voice-agent-1", [prefix("voice-agent-", "z"), prefix("voice-agent-", "a")], "a", id="of the same second"
        ),
        pytest.param("team-b/voice-agent-1", [GENERAL, OTHERS], "desk", id="of another namespace"),
        pytest.param("team-b/voice-agent-1", [GENERAL], None, id="of a namespace that serves none"),
        pytest.param("voice-agent-1", [OTHERS], None, id="of the server's namespace, which another cannot serve"),
        pytest.param("team-c/voice-agent-1", [GENERAL, OTHERS], None, id="of a third namespace"),
        pytest.param("team-b/voice-agent-1/2", [OTHERS], "desk", id="slashes that follow are its own"),
        pytest.param("team-b/x", [prefix("t", "short")], None, id="a prefix never reaches into another namespace"),
        pytest.param("anything", [prefix(""), OTHERS], "desk", id="an empty prefix fits every name"),
        pytest.param("team-b/x", [prefix("")], None, id="an empty prefix never reaches into another namespace"),
        pytest.param("team-b/x", [prefix("", "every", "team-b")], "every", id="of that namespace it does"),
        pytest.param(
            "voice-agent-1", [prefix("", "old"), GENERAL], "general", id="any other is longer than an empty one"
        ),
        pytest.param("voice-agent-1/2", [GENERAL], None, id="nor does a name that may be another's"),
    ],
)
def test_the_longest_prefix_of_whoever_may(room: str, prefixes: list[Prefix], pool: str | None) -> None:
    found = serving_pool(room, SERVERS, prefixes)
    assert (found and found[1]) == pool


@pytest.mark.parametrize(
    ("own", "others", "taken", "longer"),
    [
        pytest.param(GENERAL, [GENERAL], None, [], id="alone"),
        pytest.param(GENERAL, [GENERAL, SPECIAL], None, [SPECIAL], id="another takes some"),
        pytest.param(SPECIAL, [GENERAL, SPECIAL], None, [], id="another has the rest"),
        pytest.param(prefix("voice-agent-", "new", created=9), [GENERAL], GENERAL.pool, [], id="another has them all"),
        pytest.param(GENERAL, [prefix("voice-agent-", "new", created=9)], None, [], id="it has them all"),
        pytest.param(GENERAL, [OTHERS, prefix("voice-agent-x", "desk", "team-b")], None, [], id="of another namespace"),
    ],
)
def test_who_else_serves_them(own: Prefix, others: list[Prefix], taken: Key | None, longer: list[Prefix]) -> None:
    assert preferred(own, others) == (taken, longer)
