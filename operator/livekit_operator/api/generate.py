"""`python -m livekit_operator.api.generate`: writes everything that follows from the models and the reasons.

With `--verify` nothing is written; a stale file is named and the exit code is 1.
"""

import functools
import sys
from pathlib import Path

import yaml

from livekit_operator.api.kinds import KINDS
from livekit_operator.api.writers.crd import build_crd
from livekit_operator.api.writers.reasons import with_table
from livekit_operator.api.writers.reference import build_reference
from livekit_operator.constants import GROUP
from livekit_operator.reasons.documented import TABLES

HEADER = "# Generated from operator/livekit_operator/api by `make generate`. Do not edit.\n"


class _PlainDumper(yaml.SafeDumper):
    """A dumper without anchors: two equal parts of a schema stay two parts."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def generated_files() -> dict[Path, str]:
    """Return path (relative to the repository) -> content of every generated file."""
    files = dict(_from_models())
    readme = Path("README.md")
    files[readme] = with_example(readme.read_text(), Path("examples/quickstart.yaml").read_text())
    for table in TABLES:
        page = Path(table.doc)
        files[page] = with_table(files[page] if page in files else page.read_text(), table)
    return files


@functools.cache
def _from_models() -> dict[Path, str]:
    """Return what follows from the models alone."""
    files = {Path("docs/api.md"): build_reference()}
    for kind in KINDS:
        content = HEADER + yaml.dump(
            build_crd(kind), Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True
        )
        for folder in (Path("crds"), Path("charts/livekit-operator/files/crds")):
            files[folder / f"{GROUP}_{kind.plural}.yaml"] = content
    return files


def with_example(readme: str, example: str) -> str:
    """Return the README with the example between its markers; raises ValueError when a marker is missing."""
    before, begin, rest = readme.partition("<!-- quickstart -->\n")
    _, end, after = rest.partition("<!-- /quickstart -->")
    if not begin or not end:
        raise ValueError("README.md has no quickstart markers")
    return f"{before}{begin}```yaml\n{example}```\n{end}{after}"


def main(arguments: list[str]) -> int:
    """Write the generated files below the current folder, or verify them."""
    stale = []
    for path, content in generated_files().items():
        if path.exists() and path.read_text() == content:
            continue
        stale.append(str(path))
        if "--verify" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    for path_name in stale:
        print(f"{'stale' if '--verify' in arguments else 'wrote'}: {path_name}")
    return 1 if stale and "--verify" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
