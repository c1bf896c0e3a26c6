"""An image's key covers what its Dockerfile copies, and nothing else."""

from pathlib import Path

import pytest

from tests.cluster import build_context


@pytest.mark.parametrize(
    ("dockerfile", "sources"),
    [
        ("FROM a\nRUN true\n", []),
        ("COPY a b /x/\n", ["a", "b"]),
        ("copy a /x\n", ["a"]),
        ("ADD rootfs.tar /\n", ["rootfs.tar"]),
        ("COPY --chown=1:1 a /x\n", ["a"]),
        ("COPY --from=build /venv /venv\nCOPY a /\n", ["a"]),
        ('COPY ["a b", "c", "/x/"]\n', ["a b", "c"]),
        ("COPY a \\\n  b \\\n  /x/\n", ["a", "b"]),
        ("COPY . .\n", ["."]),
        ("# COPY a b\n", []),
    ],
)
def test_sources_of_a_dockerfile(dockerfile: str, sources: list[str]) -> None:
    assert build_context.copied_sources(dockerfile) == sources


def test_files_are_those_copied_without_litter(tmp_path: Path) -> None:
    for name in ("app/main.py", "app/__pycache__/main.pyc", "app/old.pyc", "requirements.txt", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = build_context.files(tmp_path, "COPY app /app\nCOPY requirements*.txt /\n")
    assert [name for name, _ in found] == ["app/main.py -", "requirements.txt -"]
