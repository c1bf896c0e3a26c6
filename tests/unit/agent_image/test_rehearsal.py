"""A rehearsal that fails costs the first call some time and nothing else; tests/wire plays a whole one."""

import logging

import pytest

from voice_agent import rehearsal


@pytest.fixture(autouse=True)
def _level() -> None:
    assert logging.root.manager.disable == logging.NOTSET


async def well() -> str:
    logging.getLogger("library").warning("a canned answer")
    return "Hello."


async def badly() -> str:
    raise ConnectionError("no canned answer")


@pytest.mark.parametrize(("play", "told"), [(well, []), (badly, ["the rehearsal failed"])], ids=["well", "badly"])
def test_what_a_rehearsal_leaves_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, play: object, told: list[str]
) -> None:
    monkeypatch.setattr(rehearsal, "play", play)
    rehearsal.rehearse()
    assert [record.message for record in caplog.records] == told
    assert logging.root.manager.disable == logging.NOTSET, "others' words are heard again"
