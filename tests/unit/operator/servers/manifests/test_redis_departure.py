"""How the managed Redis leaves: the hook is run as it stands, with a redis-cli and a clock of the test's."""

import subprocess
from pathlib import Path

import pytest

from livekit_operator.servers.manifests import redis_departure as build

CONFIG = 'bind * -::*\nport 6379\nrequirepass "a\\"b"\nsave ""\n'
# What it is asked, line by line, goes into a file; what it answers comes from another one, the last for ever.
REDIS_CLI = """#!/bin/sh
here=$(dirname "$0")
cat > "$here/asked"
printf '%s ' "$@" > "$here/arguments"
echo OK
head -n 1 "$here/answers"
[ "$(wc -l < "$here/answers")" -gt 1 ] && sed -i 1d "$here/answers"
exit 0
"""
SLEEP = """#!/bin/sh
echo "$1" >> "$(dirname "$0")/slept"
"""


def leave(folder: Path, answers: list[str]) -> float:
    """Run the hook in a folder and return how many seconds it waited."""
    for name, text in {"redis-cli": REDIS_CLI, "sleep": SLEEP}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "redis.conf").write_text(CONFIG)
    (folder / "answers").write_text("".join(f"{answer}\n" for answer in answers))
    (folder / "slept").write_text("")
    hook = build.hook(str(folder / "redis.conf"), 6379)["preStop"]["exec"]["command"]
    path = {"PATH": f"{folder}:/usr/bin:/bin"}
    subprocess.run(hook, check=True, env=path, timeout=60)
    return sum(map(float, (folder / "slept").read_text().split()))


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [
        pytest.param(["free"], 0, id="nobody is there"),
        pytest.param(["staying"], build.LEAVE_WITHIN_SECONDS, id="its node is emptied, its servers stay"),
        pytest.param(["staying", "staying", "leaving", "connected", "free"], 2, id="all go, and nobody is on them"),
        pytest.param([*["leaving"] * 200, "free"], 100, id="all go, and one has a call"),
        pytest.param(["leaving", "connected"], build.END_WITHIN_SECONDS + 0.5, id="a server died while it left"),
        pytest.param(["connected"], build.LEAVE_WITHIN_SECONDS, id="a server died before"),
        pytest.param(["leaving", "", "leaving", "free"], 1.5, id="it does not answer once"),
        pytest.param([""], build.LEAVE_WITHIN_SECONDS, id="it never answers"),
        pytest.param(["(error) ERR unknown"], build.LEAVE_WITHIN_SECONDS, id="it answers with an error"),
        pytest.param(["leaving", "staying"], build.END_WITHIN_SECONDS + 0.5, id="another server started"),
    ],
)
def test_redis_waits_as_long_as_all_its_servers_leave(tmp_path: Path, answers: list[str], seconds: float) -> None:
    assert leave(tmp_path, answers) == pytest.approx(seconds, abs=0.5)


def test_the_password_goes_from_the_file_to_redis_and_nowhere_else(tmp_path: Path) -> None:
    leave(tmp_path, ["free"])
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == 'auth "a\\"b"'
    assert len(asked) == 2
    assert asked[1].startswith('eval "')
    assert asked[1].endswith('" 1 nodes')
    assert (tmp_path / "arguments").read_text().split() == ["-p", "6379"]


def test_the_question_stands_in_quotes_twice() -> None:
    question = build.script("/etc/redis/redis.conf", 6379).split('eval "')[1].split('" 1 nodes')[0]
    assert not set(question) & set("'\"\\$`\n")
