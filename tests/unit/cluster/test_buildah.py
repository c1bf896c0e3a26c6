"""Builds reach the package index as this machine does."""

import configparser

from tests.cluster.buildah import pip_configuration


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
