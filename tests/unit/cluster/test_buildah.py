"""Builds reach the package index as this machine does, and outlive a busy one."""

import configparser
from pathlib import Path

import pytest

from tests.cluster.buildah import pip_configuration, run_until_sealed


def _options(listing: str, environment: dict[str, str]) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.read_string(pip_configuration(listing, environment))
    return dict(parser["global"])


def test_files_and_variables_come_together_and_variables_win() -> None:
    options = _options(
        "global.index-url='https://a.example/simple'\nglobal.timeout='15'\ninstall.no-compile='true'\n",
        {"PIP_INDEX_URL": "https://b.example/simple", "HOME": "/nowhere"},
    )
    assert options["index-url"] == "https://b.example/simple"
    assert options["timeout"] == "15"
    assert "no-compile" not in options
    assert "home" not in options


def test_paths_of_the_machine_become_those_of_the_build() -> None:
    options = _options("global.cert='/somewhere/ca.pem'\n", {"PIP_FIND_LINKS": "/wheels", "PIP_CERT": "/else/ca.pem"})
    assert options == {"cert": "/etc/ssl/certs/ca-certificates.crt"}


_BUSY = "STEP 2/6: RUN true\nClose_Fd sealing memfd copy: Device or resource busy\n"


@pytest.mark.parametrize(
    ("outcomes", "code", "runs"),
    [
        ([(0, "done")], 0, 1),
        ([(1, _BUSY), (0, "done")], 0, 2),
        ([(1, _BUSY), (1, _BUSY), (1, _BUSY), (0, "done")], 1, 3),
        ([(1, "no such package"), (0, "done")], 1, 1),
        ([(1, _BUSY), (1, "no such package"), (0, "done")], 1, 2),
    ],
)
def test_a_build_is_repeated_only_where_buildah_could_not_seal_its_copy(
    tmp_path: Path, outcomes: list[tuple[int, str]], code: int, runs: int
) -> None:
    log = tmp_path / "image.log"
    left = list(outcomes)

    def build_once() -> int:
        ended, said = left.pop(0)
        log.write_text(said)
        return ended

    assert run_until_sealed(build_once, log) == code
    assert len(outcomes) - len(left) == runs
