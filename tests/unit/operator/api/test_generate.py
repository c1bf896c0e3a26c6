"""Generated files are the models', and a stale one is noticed."""

from pathlib import Path

import pytest
import yaml

from livekit_operator.api.generate import HEADER, generated_files, main, with_example
from livekit_operator.api.kinds import KINDS
from livekit_operator.reasons.documented import TABLES

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout with what is written by hand, as the current folder."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples/quickstart.yaml").write_text("kind: MeetingRoom\n")
    (tmp_path / "README.md").write_text("before\n<!-- quickstart -->\n<!-- /quickstart -->\nafter\n")
    (tmp_path / "docs").mkdir()
    for table in TABLES:
        with (tmp_path / table.doc).open("a") as page:
            page.write(f"by hand\n<!-- reasons: {table.name} -->\n<!-- /reasons -->\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_committed_files_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert main(["--verify"]) == 0


def test_a_file_for_each_kind_twice_the_reference_and_the_pages_with_tables(checkout: Path) -> None:
    expected = {Path("docs/api.md"), Path("README.md"), Path("docs/operations.md"), Path("docs/pools.md")}
    for kind in KINDS:
        name = f"livekit-operator.dev_{kind.plural}.yaml"
        expected |= {Path("crds") / name, Path("charts/livekit-operator/files/crds") / name}
    assert set(generated_files()) == expected


def test_the_readme_shows_the_example(checkout: Path) -> None:
    main([])
    readme = (checkout / "README.md").read_text()
    assert readme == "before\n<!-- quickstart -->\n```yaml\nkind: MeetingRoom\n```\n<!-- /quickstart -->\nafter\n"


def test_a_table_of_reasons_stands_where_its_page_has_the_markers(checkout: Path) -> None:
    main([])
    pools = (checkout / "docs/pools.md").read_text()
    assert pools.startswith(
        "by hand\n<!-- reasons: why there is no agent -->\n| reason | what it is | what to do |\n|---|"
    )
    assert "\n| `AllWorkersFull` | every place is taken | raise `maxReplicas`" in pools
    assert pools.endswith("|\n<!-- /reasons -->\n")
    for table in TABLES:
        assert (checkout / table.doc).read_text().count(f"<!-- reasons: {table.name} -->\n|") == 1


@pytest.mark.parametrize("kept", ["<!-- /reasons -->", "<!-- reasons: why there is no agent -->\n"])
def test_a_page_that_lost_a_marker_is_an_error(kept: str, checkout: Path) -> None:
    (checkout / "docs/pools.md").write_text(kept)
    with pytest.raises(ValueError, match=r"docs/pools\.md has no markers"):
        generated_files()


def test_a_table_changed_by_hand_is_stale(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    capsys.readouterr()
    page = checkout / "docs/pools.md"
    page.write_text(page.read_text().replace("every place is taken", "it is full"))
    assert main(["--verify"]) == 1
    assert capsys.readouterr().out == "stale: docs/pools.md\n"


def test_a_readme_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="markers"):
        with_example("no markers", "kind: MeetingRoom\n")


def test_manifests_say_that_they_are_generated_and_hold_no_anchors(checkout: Path) -> None:
    for path, content in generated_files().items():
        if path.suffix == ".yaml":
            assert content.startswith(HEADER)
            assert not {"&id", "*id"} & set(content.split())
            assert yaml.safe_load(content)["kind"] == "CustomResourceDefinition"


def test_writes_what_is_stale_and_only_that(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(generated_files())
    assert main(["--verify"]) == 0
    assert main([]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("damage", ["edit", "delete"])
def test_verify_names_a_stale_file_and_leaves_it(
    damage: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([])
    capsys.readouterr()
    stale = Path("crds/livekit-operator.dev_meetingrooms.yaml")
    if damage == "edit":
        stale.write_text("edited")
    else:
        stale.unlink()
    assert main(["--verify"]) == 1
    assert capsys.readouterr().out == f"stale: {stale}\n"
    assert not stale.exists() or stale.read_text() == "edited"
