"""A control plane of a test's own: etcd, an API server and the controllers that own objects, on ports of this machine.

No node and no scheduler belong to it, and no other test meets it. It starts within seconds and may be stopped, put
back to an earlier state and started again. Its programs are the local cluster's: those that are missing are installed
and built first.

async with control_plane(folder) as plane:
    api = Api(await configuration(plane.target))
"""

import asyncio
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import aiohttp
import yaml

from tests.cluster import kubeconfigs, packages, tools
from tests.cluster.certificates import make_authority, make_certificate
from tests.cluster.control_plane import ApiServerFiles, api_server_arguments, etcd_arguments
from tests.cluster.errors import log_tail
from tests.harness.target import Target

_ADDRESS = IPv4Address("127.0.0.1")
_ADMIN = "admin"
_MASTERS = "system:masters"
# What tests need of them: a namespace has an account, what a resource owns goes with it, a namespace goes.
CONTROLLERS = ("serviceaccount-controller", "garbage-collector-controller", "namespace-controller")
_READY_SECONDS = 90.0
_END_SECONDS = 20.0


class ControlPlane:
    """The control plane, with all of its files in one folder.

    `ports` are those of the API server, etcd's clients, etcd's peers and the controllers.
    """

    def __init__(self, folder: Path, ports: Sequence[int], controllers: Sequence[str] = CONTROLLERS) -> None:
        self._folder = folder
        self._port, self._etcd_port, self._peer_port, self._controllers_port = ports
        self._controllers = controllers
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self.target = Target(folder / "kubeconfig", kubeconfigs.CONTEXT, local=False)

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"https://{_ADDRESS}:{self._port}"

    @property
    def _data(self) -> Path:
        return self._folder / "etcd"

    @property
    def _api_server_files(self) -> ApiServerFiles:
        server, key, authority, accounts, public = (
            self._folder / name for name in ("server.crt", "server.key", "ca.crt", "accounts.key", "accounts.crt")
        )
        return ApiServerFiles(server, key, authority, accounts, public)

    def prepare(self) -> None:
        """Have the programs, and write certificates and the kubeconfig; raises ClusterError."""
        if not Path("/usr/bin/etcd").exists():
            packages.ensure()
        tools.path("kube-apiserver")
        authority = make_authority("ca")
        server = make_certificate(authority, "kube-apiserver", addresses=[_ADDRESS], names=["localhost"])
        admin = make_certificate(authority, _ADMIN, organization=_MASTERS)
        accounts = make_authority("accounts")
        for name, content in (
            ("ca.crt", authority.certificate_pem),
            ("server.crt", server.certificate_pem),
            ("server.key", server.key_pem),
            ("accounts.key", accounts.key_pem),
            ("accounts.crt", accounts.certificate_pem),
        ):
            self._write(name, content)
        document = kubeconfigs.document(
            self.url, _ADMIN, authority.certificate_pem, admin.certificate_pem, admin.key_pem
        )
        self._write(self.target.kubeconfig.name, yaml.safe_dump(document).encode())

    def commands(self) -> dict[str, tuple[str, ...]]:
        """Return the command line of each program, in the order in which they start."""
        api_server = (
            str(tools.path("kube-apiserver")),
            *api_server_arguments(self._etcd_port, _ADDRESS, self._port, self._api_server_files),
            # No pod asks for the Service `kubernetes`, and loopback is no address for one.
            "--endpoint-reconciler-type=none",
        )
        controllers = (
            str(tools.path("kube-controller-manager")),
            f"--kubeconfig={self.target.kubeconfig}",
            f"--authentication-kubeconfig={self.target.kubeconfig}",
            f"--authorization-kubeconfig={self.target.kubeconfig}",
            f"--bind-address={_ADDRESS}",
            f"--secure-port={self._controllers_port}",
            "--leader-elect=false",
            f"--controllers={','.join(self._controllers)}",
        )
        return {
            "etcd": etcd_arguments(self._data, self._etcd_port, self._peer_port),
            "kube-apiserver": api_server,
            "kube-controller-manager": controllers,
        }

    async def start(self) -> None:
        """Start every program, and return when the API server is ready; fails with the end of its log."""
        for name, command in self.commands().items():
            if name == "kube-controller-manager":
                await self._until_ready()
            with self._log(name).open("ab") as log:
                self._running[name] = await asyncio.create_subprocess_exec(
                    *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
                )

    async def stop(self, *, grace: bool = True) -> None:
        """End every program, without grace as a crash does."""
        while self._running:
            name, process = self._running.popitem()
            if process.returncode is not None:
                raise AssertionError(f"{name} had ended by itself{log_tail(self._log(name))}")
            if grace:
                process.terminate()
            else:
                process.kill()
            await asyncio.wait_for(process.wait(), _END_SECONDS)

    def kill(self) -> None:
        """End what still runs without waiting for it."""
        for process in self._running.values():
            if process.returncode is None:
                process.kill()

    def save(self, name: str) -> None:
        """Keep a copy of etcd's data; nothing may run."""
        assert not self._running
        shutil.copytree(self._data, self._folder / name)

    def restore(self, name: str) -> None:
        """Put a copy of etcd's data in the place of what is there now; nothing may run."""
        assert not self._running
        shutil.rmtree(self._data)
        shutil.copytree(self._folder / name, self._data)

    async def _until_ready(self) -> None:
        name = "kube-apiserver"
        # Anybody may ask: the ClusterRole system:public-info-viewer says so.
        context = ssl.create_default_context(cafile=self._api_server_files.authority)
        deadline = time.monotonic() + _READY_SECONDS
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            while not await _is_ready(session, f"{self.url}/readyz"):
                for started, process in self._running.items():
                    assert process.returncode is None, f"{started} has ended{log_tail(self._log(started))}"
                late = time.monotonic() > deadline
                assert not late, f"{name} not ready within {_READY_SECONDS:.0f} s{log_tail(self._log(name))}"
                await asyncio.sleep(0.1)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _write(self, name: str, content: bytes) -> None:
        file = self._folder / name
        file.touch(mode=0o600)
        file.write_bytes(content)


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.create_server((str(_ADDRESS), 0)) for _ in range(count)]
    try:
        return [made.getsockname()[1] for made in sockets]
    finally:
        for made in sockets:
            made.close()


@asynccontextmanager
async def control_plane(folder: Path) -> AsyncIterator[ControlPlane]:
    """Run a control plane in an empty folder. Fails when a program of it ends by itself."""
    plane = ControlPlane(folder, free_ports(4))
    await asyncio.to_thread(plane.prepare)
    try:
        await plane.start()
        yield plane
        await plane.stop(grace=False)
    finally:
        plane.kill()
