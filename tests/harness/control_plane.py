"""A control plane of a test's own: etcd, an API server and the controllers that own objects, on ports of this machine.

No node and no scheduler belong to it, and no other test meets it. It starts within seconds and may be stopped, put
back to an earlier state and started again. Its programs are those of `tests.cluster.kubernetes_version`: what is
missing is installed and built first.

async with control_plane(folder) as plane:
    api = Api(await configuration(plane.target))
"""

import asyncio
import shutil
import signal
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import aiohttp
import yaml

from tests.cluster import kubeconfigs, packages
from tests.cluster.certificates import make_authority, make_certificate
from tests.cluster.control_plane import ETCD, ApiServerFiles, api_server_arguments, etcd_arguments
from tests.cluster.errors import log_tail
from tests.cluster.kubernetes_version import program
from tests.harness.bound import ENDS_WITH_US
from tests.harness.ports import free_port
from tests.harness.target import Target

_ADDRESS = IPv4Address("127.0.0.1")
_ADMIN = "admin"
_MASTERS = "system:masters"
# The least that tests need: a namespace has an account, what a resource owns goes with it, a namespace goes.
CONTROLLERS = ("serviceaccount-controller", "garbage-collector-controller", "namespace-controller")
EVERY_CONTROLLER = ("*",)
_READY_SECONDS = 90.0
# Base64: a key that is none of the API server's.
_KEY = "bm9ib2R5"


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
    def _files(self) -> ApiServerFiles:
        server, key, authority, accounts, public = (
            self._folder / name for name in ("server.crt", "server.key", "ca.crt", "accounts.key", "accounts.crt")
        )
        return ApiServerFiles(server, key, authority, accounts, public)

    def prepare(self) -> None:
        """Have the programs, and write certificates and the kubeconfig; raises ClusterError."""
        ensure_programs()
        authority, accounts, files = make_authority("ca"), make_authority("accounts"), self._files
        server = make_certificate(authority, "kube-apiserver", addresses=[_ADDRESS])
        admin = make_certificate(authority, _ADMIN, organization=_MASTERS)
        trusted = authority.certificate_pem
        document = kubeconfigs.document(self.url, _ADMIN, trusted, admin.certificate_pem, admin.key_pem)
        _write(files.authority, trusted)
        _write(files.certificate, server.certificate_pem)
        _write(files.key, server.key_pem)
        _write(files.accounts_public_key, accounts.certificate_pem)
        _write(files.accounts_key, accounts.key_pem)
        _write(self.target.kubeconfig, yaml.safe_dump(document).encode())

    def commands(self) -> dict[str, tuple[str, ...]]:
        """Return the command line of each program, in the order in which they start."""
        kubeconfig = self.target.kubeconfig
        return {
            "etcd": etcd_arguments(self._data, self._etcd_port, self._peer_port),
            "kube-apiserver": (
                str(program("kube-apiserver")),
                *api_server_arguments(self._etcd_port, _ADDRESS, self._port, self._files),
                # No pod asks for the Service `kubernetes`, and loopback is no address for one.
                "--endpoint-reconciler-type=none",
            ),
            "kube-controller-manager": (
                str(program("kube-controller-manager")),
                f"--kubeconfig={kubeconfig}",
                f"--authentication-kubeconfig={kubeconfig}",
                f"--authorization-kubeconfig={kubeconfig}",
                f"--bind-address={_ADDRESS}",
                f"--secure-port={self._controllers_port}",
                "--leader-elect=false",
                f"--controllers={','.join(self._controllers)}",
            ),
        }

    async def start(self) -> None:
        """Start every program, and return when the API server is ready; fails with the end of its log."""
        for name in self.commands():
            await self._start(name)

    async def crash(self) -> None:
        """End every program without grace. Fails when one had ended by itself."""
        while self._running:
            name, process = self._running.popitem()
            assert process.returncode is None, f"{name} had ended by itself{log_tail(self._log(name))}"
            process.kill()
            await process.wait()

    async def kill(self) -> None:
        """End whatever still runs."""
        for process in self._running.values():
            if process.returncode is None:
                process.kill()
                await process.wait()

    def save(self, name: str) -> None:
        """Keep a copy of etcd's data as it is this very moment, as a crash would leave it."""
        process = self._running["etcd"]
        process.send_signal(signal.SIGSTOP)
        try:
            shutil.copytree(self._data, self._folder / name)
        finally:
            process.send_signal(signal.SIGCONT)

    async def restore(self, name: str, *, revision: int = 0) -> None:
        """Put a copy of etcd's data in the place of what is there; nothing may run.

        With a revision numbers go on from there and none from before is known, as `etcdutl snapshot restore` has it
        with `--bump-revision` and `--mark-compacted`.
        """
        assert not self._running, "nothing may run"
        shutil.rmtree(self._data)
        shutil.copytree(self._folder / name, self._data)
        if revision:
            await self._start("etcd")
            await self.write_until(revision)
            await self._ask_etcd("compaction", revision=revision)
            await self.crash()

    async def revision(self) -> int:
        """Return etcd's newest revision, which is what resource versions are."""
        return await self._ask_etcd("range", key=_KEY)

    async def write_until(self, revision: int) -> None:
        """Write what is nobody's until etcd is at a revision."""
        while await self._ask_etcd("put", key=_KEY, value=_KEY) < revision:
            pass

    async def _ask_etcd(self, verb: str, **request: str | int) -> int:
        """Send a request to etcd's JSON gateway, and return the revision that it answers from."""
        url = f"http://{_ADDRESS}:{self._etcd_port}/v3/kv/{verb}"
        async with aiohttp.request("POST", url, json=request, raise_for_status=True) as answer:
            return int((await answer.json())["header"]["revision"])

    async def _start(self, name: str) -> None:
        with self._log(name).open("ab") as log:
            self._running[name] = process = await asyncio.create_subprocess_exec(
                *ENDS_WITH_US,
                *self.commands()[name],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        url = {"etcd": f"http://{_ADDRESS}:{self._etcd_port}/health", "kube-apiserver": f"{self.url}/readyz"}.get(name)
        # Anybody may ask the API server this: the ClusterRole system:public-info-viewer says so.
        context = ssl.create_default_context(cafile=self._files.authority)
        deadline = time.monotonic() + _READY_SECONDS
        while url and not await _is_ready(url, context):
            assert process.returncode is None, f"{name} has ended{log_tail(self._log(name))}"
            late = time.monotonic() > deadline
            assert not late, f"{name} not ready within {_READY_SECONDS:.0f} s{log_tail(self._log(name))}"
            await asyncio.sleep(0.1)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


async def _is_ready(url: str, context: ssl.SSLContext) -> bool:
    try:
        async with aiohttp.request("GET", url, ssl=context) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def _write(file: Path, content: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(content)


def ensure_programs() -> None:
    """Have what a control plane runs; raises ClusterError."""
    if not Path(ETCD).exists():
        packages.ensure()
    for name in ("kube-apiserver", "kube-controller-manager"):
        program(name)


@asynccontextmanager
async def control_plane(folder: Path, controllers: Sequence[str] = CONTROLLERS) -> AsyncIterator[ControlPlane]:
    """Run a control plane in an empty folder. Fails when a program of it ends by itself."""
    plane = ControlPlane(folder, [free_port() for _ in range(4)], controllers)
    await asyncio.to_thread(plane.prepare)
    try:
        await plane.start()
        yield plane
        await plane.crash()
    finally:
        await plane.kill()
