"""A folder of the cache is made once, and is there as a whole or not at all."""

from pathlib import Path

import pytest

from tests.cluster import layout, locking
from tests.cluster.errors import ClusterError


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(layout, "CACHE", tmp_path)
    return tmp_path / "things" / "one"


def test_a_folder_is_made_once(folder: Path) -> None:
    made: list[Path] = []

    def make(unfinished: Path) -> None:
        assert not folder.exists(), "it would be there in part"
        (unfinished / "file").touch()
        made.append(unfinished)

    for _ in range(2):
        assert locking.made_once(folder, "one", make) == folder
    assert len(made) == 1
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
    assert (folder / "file").exists()


def test_what_fails_leaves_nothing(folder: Path) -> None:
    def fail(unfinished: Path) -> None:
        (unfinished / "half").touch()
        raise ClusterError("no such package")

    with pytest.raises(ClusterError):
        locking.made_once(folder, "one", fail)
    assert list(folder.parent.iterdir()) == []
