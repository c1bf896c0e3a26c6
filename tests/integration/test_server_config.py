"""Any spec is refused by the name of a field, or becomes a configuration that livekit-server itself takes.

EXAMPLES=5000 make integration looks longer, and each time at other specs.
"""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.errors import Blocked
from livekit_operator.servers.decisions import extra_config
from livekit_operator.servers.manifests import config as server_config
from livekit_operator.servers.manifests import media, reach, versions
from tests.cluster import tools
from tests.fakes import manifests
from tests.harness.api import Api
from tests.harness.stun import stun_server
from tests.integration.server_specs import anything, specs

NODE_PORT = 30123
EXTERNAL_ADDRESS = "203.0.113.7"
# livekit-server prints a single port as "%!s(int=7882)".
PORT_LINE = re.compile(r"^(?:%!s\(int=)?(\d+)\)?(?:-(\d+))? - (.+)$", re.MULTILINE)
NAMES = {
    "HTTP service": "signal",
    "ICE/TCP": "ice-tcp",
    "ICE/UDP": "media",
    "ICE/UDP range": "media",
    "TURN/TLS": "turn-tls",
    "TURN/UDP": "turn-udp",
}
_EXAMPLES = os.environ.get("EXAMPLES")
LOOK = settings(
    max_examples=int(_EXAMPLES or 200),
    # The same specs each time unless somebody looks for new ones: a test that is red now and then is no news.
    derandomize=not _EXAMPLES,
    database=None,
    deadline=None,
    # One namespace for all: nothing is stored.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)

Ports = dict[str, tuple[int, int]]


@pytest.fixture
def outcomes(capsys: pytest.CaptureFixture[str]) -> Iterator[Counter[str]]:
    """Return what became of the specs, and tell it in the end."""
    counted: Counter[str] = Counter()
    yield counted
    found = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counted.items()))
    with capsys.disabled():
        print(f"\n{found}. EXAMPLES=5000 looks longer, and at others each time.")


@pytest.fixture(scope="session")
def binary() -> Path:
    """Return livekit-server of the version that the operator runs."""
    return tools.path("livekit-server")


@pytest.fixture(scope="module")
def stun() -> Iterator[str]:
    """Return a STUN server, as `host:port`."""
    with stun_server(EXTERNAL_ADDRESS) as address:
        yield address


async def ports_of(binary: Path, folder: Path, config: dict[str, Any], **environment: str) -> tuple[str, Ports]:
    """Return what livekit-server says to a configuration, and its ports by their names; it ends well in any case."""
    path = folder / "livekit.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=True))
    # Its own variables would win over the file.
    process = await asyncio.create_subprocess_exec(
        binary,
        "--config",
        path,
        "ports",
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    # It cuts what it quotes anywhere, in the middle of a character too.
    output = said.decode(errors="replace")
    if "TCP Ports" not in output:
        return output, {}
    found = {NAMES[name]: (int(start), int(end or start)) for start, end, name in PORT_LINE.findall(output)}
    return output, found


def expected_ports(server: LiveKitServer) -> Ports:
    """Return the ports that the rest of the operator takes for granted, without those that are not printed."""
    ports = {name: (start, end) for name, _, start, end in server_config.host_ports(server)}
    for name in ("turn-relay", "metrics"):
        ports.pop(name, None)
    if server.spec.media.exposure == "NodePort":
        # Only the server itself reads the other variables, see test_variables_win_over_the_file.
        ports |= {"media": (NODE_PORT, NODE_PORT), "ice-tcp": (7881, 7881)}
    else:
        slot = media.slot_ports(server, media.build_slot_service(server, 0, None))
        assert slot is not None
        assert (ports["media"], ports.get("ice-tcp", (None,))[0], ports.get("turn-udp", (None,))[0]) == (
            slot.udp,
            slot.tcp,
            slot.turn_udp,
        ), "Service and configuration name different ports"
    return ports


def refused_by_a_field(message: str) -> bool:
    """Return whether a refusal names the field that is wrong."""
    return re.search(r"\bspec(\.[A-Za-z]+)+", message) is not None


@LOOK
@given(spec=specs())
async def test_a_spec_is_refused_by_a_field_or_taken_by_the_server(
    api: Api,
    namespace: str,
    binary: Path,
    stun: str,
    tmp_path: Path,
    outcomes: Counter[str],
    spec: dict[str, Any],
) -> None:
    manifest = manifests.server(namespace=namespace)
    answer = await api.try_create({**manifest, "spec": spec}, dryRun="All")
    if answer.status >= 300:
        assert answer.status in (400, 422), answer.body
        assert refused_by_a_field(answer.message), answer.message
        outcomes["refused"] += 1
        return
    server = LiveKitServer.model_validate(answer.body)
    addresses = {"operator_webhook_url": "http://operator.example", "redis_address": "voice-redis.team.svc:6379"}
    try:
        config = server_config.build_config(server, **addresses)
    except Blocked as blocked:
        # What the schema cannot see is a condition, which names its field as well.
        too_old = versions.version_of(server) < max(key.since for key in versions.YOUNGER)
        if not refused_by_a_field(blocked.problem.message) and "extraConfig." not in blocked.problem.message:
            raise
        outcomes["too old" if too_old and "spec.version" in blocked.problem.message else "told"] += 1
        return
    environment = {"NODE_IP": server.spec.media.node_ip or EXTERNAL_ADDRESS}
    if server.spec.media.exposure == "NodePort":
        environment["UDP_PORT"] = str(NODE_PORT)
    if server.spec.media.discover_external_ip:
        config["rtc"]["stun_servers"] = [stun]
        del environment["NODE_IP"]
    output, ports = await ports_of(binary, tmp_path, config, **environment)
    assert ports == expected_ports(server), output
    reach.firewall(server, {})
    outcomes[f"taken, {server.spec.media.exposure}"] += 1


@LOOK
@given(
    extra=st.dictionaries(st.sampled_from(["rtc", "video", "room", "<<", "audio"]) | st.text(max_size=5), anything())
)
async def test_any_extra_config_can_be_written(
    binary: Path, tmp_path: Path, outcomes: Counter[str], extra: dict[str, Any]
) -> None:
    server = LiveKitServer.model_validate(manifests.stored(manifests.server(extraConfig=extra)))
    if extra_config.find_forbidden(extra):
        with pytest.raises(Blocked, match=r"extraConfig\."):
            server_config.build_config(server, operator_webhook_url=None, redis_address=None)
        outcomes["forbidden"] += 1
        return
    config = server_config.build_config(server, operator_webhook_url=None, redis_address=None)
    output, ports = await ports_of(binary, tmp_path, config, NODE_IP=EXTERNAL_ADDRESS)
    if not ports:
        # The pod that checks a configuration says this.
        assert "could not parse config" in output
        outcomes["refused by the server"] += 1
        return
    assert ports == expected_ports(server)
    outcomes["taken"] += 1
