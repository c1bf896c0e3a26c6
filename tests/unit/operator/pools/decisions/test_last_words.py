"""What is quoted of how an agent's container ended."""

import json
from typing import Any

import pytest

from livekit_operator.pools.decisions.last_words import last_words

TRACEBACK = """Traceback (most recent call last):
  File "/code/agent.py", line 3, in <module>
    import models
ModuleNotFoundError: No module named 'models'
"""
LOGGED = {"message": "unhandled exception while running the job", "level": "ERROR"}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param("no model file", "no model file", id="words of its own"),
        pytest.param("", "", id="none"),
        pytest.param(TRACEBACK, "ModuleNotFoundError: No module named 'models'", id="the end of a traceback"),
        pytest.param(
            f"{TRACEBACK}\nbye\n", "ModuleNotFoundError: No module named 'models'", id="something is printed after it"
        ),
        pytest.param("It\n\n  ended.  \n", "It ended.", id="few words on two lines"),
        pytest.param(f"{'x' * 200}\n\n  line two  \n", "line two", id="the last line of a log"),
        pytest.param("livekit.agents.cli.CLIError: no key", "livekit.agents.cli.CLIError: no key", id="of a module"),
        pytest.param("KeyboardInterrupt", "KeyboardInterrupt", id="without a word"),
        pytest.param("error: Error in line 3", "error: Error in line 3", id="no exception, but a line"),
        pytest.param(
            json.dumps({**LOGGED, "exc_info": TRACEBACK}),
            "ModuleNotFoundError: No module named 'models'",
            id="logged as JSON",
        ),
        pytest.param(
            f"{json.dumps({**LOGGED, 'exc_info': TRACEBACK})}\n{json.dumps({'message': 'shutting down', 'pid': 1})}",
            "ModuleNotFoundError: No module named 'models'",
            id="logged before the last line",
        ),
        pytest.param(json.dumps(LOGGED), LOGGED["message"], id="a message in JSON"),
        pytest.param('{"message": "cut in the mid', '{"message": "cut in the mid', id="JSON that was cut"),
        pytest.param('{"message": 3, "exc_info": null}', "", id="JSON of another kind"),
        pytest.param("[" * 3000, "[" * 3000, id="no object"),
        pytest.param('{"a":' * 3000, '{"a":' * 3000, id="too deep to be read"),
    ],
)
def test_the_words_of_a_container(message: str, words: str) -> None:
    assert last_words({"exitCode": 1, "message": message}, None) == words


@pytest.mark.parametrize(
    ("limit", "words"), [("512Mi", "more memory than its limit of 512Mi"), (None, "more memory than its node has")]
)
def test_one_that_lacked_memory_is_told_of_its_limit(limit: str | None, words: str) -> None:
    ended: dict[str, Any] = {"exitCode": 137, "reason": "OOMKilled", "message": "some line of log"}
    assert last_words(ended, limit) == f"OOMKilled: it needed {words}; raise spec.resources.limits.memory"
