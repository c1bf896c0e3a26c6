"""How the runner gets into an agent for Python or for Node.js."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.operator.pools.manifests.test_pod import container, own, values

REQUIRE = "--require /opt/livekit-runner/node/preload.cjs"


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ({}, {"PYTHONPATH": "/opt/livekit-runner", "NODE_OPTIONS": REQUIRE}),
        ({"runtime": "Node"}, {"NODE_OPTIONS": REQUIRE}),
        ({"runtime": "Python"}, {"PYTHONPATH": "/opt/livekit-runner"}),
        (
            {"runtime": "Node", "env": [{"name": "NODE_OPTIONS", "value": "--max-old-space-size=512"}]},
            {"NODE_OPTIONS": f"{REQUIRE} --max-old-space-size=512"},
        ),
        (
            {"runtime": "Python", "env": [{"name": "NODE_OPTIONS", "value": "--inspect"}]},
            {"PYTHONPATH": "/opt/livekit-runner", "NODE_OPTIONS": "--inspect"},
        ),
        (
            {"env": [{"name": "NODE_OPTIONS", "value": ""}]},
            {"PYTHONPATH": "/opt/livekit-runner", "NODE_OPTIONS": REQUIRE},
        ),
        ({"runner": "None", "env": [{"name": "NODE_OPTIONS", "value": "-r x"}]}, {"NODE_OPTIONS": "-r x"}),
    ],
)
def test_a_runtime_loads_the_runner_and_keeps_the_users_own_options(
    agent: dict[str, Any], expected: dict[str, str]
) -> None:
    there = [(entry["name"], entry.get("value")) for entry in container(**own(**agent))["env"]]
    loaders = [(name, value) for name, value in there if name in ("PYTHONPATH", "NODE_OPTIONS")]
    assert sorted(loaders) == sorted(expected.items()), "each once"


def test_the_runner_for_node_is_where_its_option_says() -> None:
    folder = Path(__file__).parents[5] / "agent_image" / "voice_agent" / "runner"
    path = values(**own(runtime="Node"))["NODE_OPTIONS"].removeprefix("--require /opt/livekit-runner/")
    assert (folder / path).is_file()
