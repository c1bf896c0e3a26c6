"""Which Kubernetes a control plane without nodes is of.

The one that tools/kubernetes pins, which is the local cluster's too, or the one that KUBERNETES_VERSION asks for: a
minor version, of which the newest release is taken (1.33), or a release (1.33.6). Another one is built from its
published modules, as the pinned one is, once for each release.
"""

import functools
import json
import os
import re
from pathlib import Path

from tests.cluster import tools
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError

VARIABLE = "KUBERNETES_VERSION"
_MODULE = "k8s.io/kubernetes"
# What a control plane without nodes is made of, and what is used by hand beside it.
_COMMANDS = ("kube-apiserver", "kube-controller-manager", "kubectl")


def program(name: str) -> Path:
    """A program of the wanted version; built first when it is not in the cache."""
    return tools.ensure(module(os.environ.get(VARIABLE, ""))) / name


def release(asked: str) -> str:
    """The release that a version names, v1.33.6; raises ClusterError when there is none."""
    if not re.fullmatch(r"v?1\.\d+(\.\d+)?", asked):
        raise ClusterError(f"{VARIABLE} must be like 1.33 or 1.33.6, not {asked!r}")
    found = run("go", "list", "-m", "-f", "{{.Version}}", f"{_MODULE}@v{asked.removeprefix('v')}", cwd=tools.FOLDER)
    return found.strip()


@functools.cache
def module(asked: str) -> tools.Module:
    """What to build for a version, the pinned one when none is asked for; raises ClusterError when there is none."""
    if not asked:
        return tools.KUBERNETES
    version = release(asked)
    mod_file = json.loads(run("go", "mod", "download", "-json", f"{_MODULE}@{version}", cwd=tools.FOLDER))["GoMod"]
    own = json.loads(run("go", "mod", "edit", "-json", mod_file))
    return tools.Module(
        f"kubernetes-{version}",
        {name: tools.KUBERNETES.commands[name] for name in _COMMANDS},
        versioned=_MODULE,
        version_variables=tools.KUBERNETES.version_variables,
        go_mod=go_mod(version, own["Go"], [replaced["Old"]["Path"] for replaced in own["Replace"] or ()]),
    )


def go_mod(version: str, language: str, staged: list[str]) -> str:
    """A module that needs this release, and the published modules of the same one for the `staged` ones.

    Kubernetes replaces them by folders of its own tree: k8s.io/api of v1.33.6 is published as v0.33.6.
    """
    published = "v0" + version.removeprefix("v1")
    lines = (f"\t{path} => {path} {published}\n" for path in sorted(staged))
    return (
        f"module livekit-operator.dev/tests/cluster/tools/kubernetes-other\n\ngo {language}\n\n"
        f"require {_MODULE} {version}\n\nreplace (\n{''.join(lines)})\n"
    )
