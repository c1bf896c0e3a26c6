"""What livekit-server takes from its environment, and which of it its subcommands see."""

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from livekit_operator.servers.manifests import config as server_config
from livekit_operator.servers.manifests import secret_inputs
from tests.cluster import tools
from tests.fakes import models
from tests.fakes.waiting import eventually_async
from tests.harness.bound import ENDS_WITH_US
from tests.harness.ports import free_port

KEY_FILE = "APIx: a-secret-of-thirty-two-characters-or-more\n"
REDIS_PASSWORD, SENTINEL_PASSWORD = "of-redis", "of-sentinel"


@asynccontextmanager
async def livekit_server(
    folder: Path, config: dict[str, Any], environment: Mapping[str, str], *arguments: str
) -> AsyncIterator[Path]:
    """Run livekit-server; give the file that it writes to."""
    keys, path, output = folder / "keys.yaml", folder / "livekit.yaml", folder / "output.txt"
    keys.write_text(KEY_FILE)
    keys.chmod(0o440)
    path.write_text(yaml.safe_dump({**config, "key_file": str(keys)}))
    with output.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            *ENDS_WITH_US,
            tools.path("livekit-server"),
            "--config",
            path,
            *arguments,
            env={"PATH": os.environ["PATH"], **environment},
            stdout=written,
            stderr=asyncio.subprocess.STDOUT,
        )
    try:
        yield output
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_variables_win_over_the_file(tmp_path: Path) -> None:
    metrics, udp, tcp = free_port(), free_port(socket.SOCK_DGRAM), free_port()
    turn = free_port(socket.SOCK_DGRAM)
    server = models.server(
        signal={"port": free_port(), "bindAddresses": ["127.0.0.1"]},
        media={"exposure": "NodePort"},
        turn={},
        prometheus={"port": metrics, "credentialsSecretRef": {"name": "scrape"}},
    )
    config = server_config.build_config(server, operator_webhook_url="http://127.0.0.1:1", redis_address=None)
    environment = {
        "NODE_IP": "127.0.0.1",
        "UDP_PORT": str(udp),
        "LIVEKIT_RTC_TCP_PORT": str(tcp),
        "LIVEKIT_TURN_UDP_PORT": str(turn),
        "LIVEKIT_WEBHOOK_API_KEY": "APIx",
        "LIVEKIT_PROMETHEUS_USERNAME": "scraper",
        "LIVEKIT_PROMETHEUS_PASSWORD": "secret",
    }
    assert {v["name"] for v in secret_inputs.secret_environment(server)} < set(environment)
    url = f"http://127.0.0.1:{metrics}/metrics"
    async with livekit_server(tmp_path, config, environment) as output, aiohttp.ClientSession() as session:

        async def started() -> bool:
            return "starting LiveKit server" in output.read_text()

        await eventually_async(started, f"livekit-server started:\n{output.read_text()}", seconds=20)
        said = output.read_text()
        assert f'"rtc.portTCP":{tcp},' in said
        assert f'"rtc.portUDP":{{"Start":{udp},"End":0}}' in said
        assert f'"turn.portUDP":{turn}}}' in said
        assert '"nodeIP":"127.0.0.1"' in said
        login = {"Authorization": aiohttp.encode_basic_auth("scraper", "secret")}
        async with session.get(url) as refused, session.get(url, headers=login) as shown:
            assert (refused.status, shown.status) == (401, 200)


@pytest.mark.parametrize(
    ("redis", "arguments", "shown"),
    [
        pytest.param({"address": "{}"}, (), REDIS_PASSWORD, id="address"),
        pytest.param({"address": "{}"}, ("list-nodes",), REDIS_PASSWORD, id="address, checked"),
        pytest.param({"cluster": {"addresses": ["{}"]}}, (), REDIS_PASSWORD, id="cluster"),
        pytest.param({"cluster": {"addresses": ["{}"]}}, ("list-nodes",), REDIS_PASSWORD, id="cluster, checked"),
        pytest.param({"sentinel": {"masterName": "m", "addresses": ["{}"]}}, (), SENTINEL_PASSWORD, id="sentinel"),
        # Subcommands see none of the generated variables (cmd/server/main.go, config.go updateFromCLI: c.Flags).
        pytest.param(
            {"sentinel": {"masterName": "m", "addresses": ["{}"]}}, ("list-nodes",), None, id="sentinel, checked"
        ),
    ],
)
async def test_which_password_redis_is_shown(
    tmp_path: Path, redis: dict[str, Any], arguments: tuple[str, ...], shown: str | None
) -> None:
    greetings: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greetings.append(await reader.read(4096))
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    spec = yaml.safe_load(yaml.safe_dump(redis).replace("'{}'", address))
    server = models.server(signal={"port": free_port()}, redis=spec)
    config = server_config.build_config(server, operator_webhook_url=None, redis_address=None)
    environment = {
        "NODE_IP": "127.0.0.1",
        "REDIS_PASSWORD": REDIS_PASSWORD,
        "LIVEKIT_REDIS_SENTINEL_PASSWORD": SENTINEL_PASSWORD,
    }
    async with listener, livekit_server(tmp_path, config, environment, *arguments):

        async def greeted() -> bool:
            return bool(greetings)

        await eventually_async(greeted, "livekit-server asked Redis", seconds=20)
    found = re.search(rb"of-(redis|sentinel)", greetings[0])
    assert (found and found[0].decode()) == shown
