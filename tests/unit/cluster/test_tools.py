"""A tool's cache key changes with everything that decides the build, and with nothing else."""

import pytest

from tests.cluster import tools


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["a"], [("f", b"x")]),
        (["ab"], []),
        (["a", "b"], []),
        ([], [("f", b"x")]),
        ([], [("g", b"x")]),
        ([], [("f", b"y")]),
        ([], [("f", b"x"), ("g", b"")]),
    ],
)
def test_digests_differ_with_any_part(words: list[str], files: list[tuple[str, bytes]]) -> None:
    assert tools.digest(words, files) == tools.digest(words, files)
    assert tools.digest(words, files) != tools.digest([], [])


def test_words_do_not_run_into_each_other() -> None:
    assert tools.digest(["ab"], []) != tools.digest(["a", "b"], [])
    assert tools.digest([], [("f", b"xy")]) != tools.digest([], [("fx", b"y")])


def test_every_module_is_pinned_and_no_binary_is_built_twice() -> None:
    names = [name for module in tools.MODULES for name in module.commands]
    assert len(names) == len(set(names))
    assert all((module.folder / "go.mod").is_file() for module in tools.MODULES)


def test_the_version_flags_follow_go_mod() -> None:
    version = tools.KUBERNETES.version_of("k8s.io/kubernetes")
    assert f"-X k8s.io/component-base/version.gitVersion={version}" in " ".join(tools.KUBERNETES.flags())
