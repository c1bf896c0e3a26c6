"""A cluster with the chart and the provider stand-ins installed, and a namespace for each story."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.cluster import layout, locking
from tests.harness import install
from tests.harness.agents import AGENT
from tests.harness.contents import OWN_KINDS, contents, lines_of
from tests.harness.groups import pytest_collection_modifyitems as pytest_collection_modifyitems  # a hook
from tests.harness.kubectl import CommandError, Kubectl, Manifest, is_ready, until
from tests.harness.progress import NAMESPACE, SECONDS, Progress, plain
from tests.harness.resources import SERVER
from tests.harness.rooms import Rooms
from tests.harness.strain import Strain
from tests.harness.target import Target, find_target
from tests.harness.usage import Meter, own_seconds
from tests.harness.witness import Witness

MANAGED = "app.kubernetes.io/managed-by=livekit-operator"
_FAILED = pytest.StashKey[bool]()
# Of each pod, and of the operator about the namespace, where a story failed.
_LAST_LINES = 60


@dataclass(frozen=True)
class Platform:
    """What is installed once for all stories."""

    target: Target
    operator: Kubectl


@dataclass(frozen=True)
class Story:
    """One story's namespace, with the providers' keys in it."""

    platform: Platform
    kubectl: Kubectl

    async def ready(self, kind: str, *names: str, seconds: float = 150) -> list[Manifest]:
        """Wait until these objects say `Ready=True` about their current spec, and return them."""

        async def look() -> list[Manifest]:
            found = {m["metadata"]["name"]: m for m in await self.kubectl.find(kind)}
            wanted = [found[name] for name in names if name in found]
            return wanted if len(wanted) == len(names) and all(map(is_ready, wanted)) else []

        manifests: list[Manifest] = await until(f"{kind} {', '.join(names)} to be ready", look, seconds=seconds)
        return manifests

    async def reason(self, kind: str, name: str, reason: str, *, seconds: float = 60) -> str:
        """Wait until an object gives this reason for not being ready, and return its message."""

        async def look() -> str:
            status = (await self.kubectl.get(kind, name)).get("status") or {}
            for condition in status.get("conditions") or ():
                if (condition["type"], condition["status"], condition["reason"]) == ("Ready", "False", reason):
                    return str(condition["message"])
            return ""

        message: str = await until(f"{kind}/{name} to say {reason}", look, seconds=seconds)
        return message

    async def condition(
        self,
        kind: str,
        name: str,
        type_: str,
        reason: str,
        *,
        status: str = "",
        words: Sequence[str] = (),
        seconds: float = 60,
    ) -> str:
        """Wait until a condition has this reason, and a status and words if given, for the current spec.

        Return its message.
        """

        async def look() -> str:
            manifest = await self.kubectl.get(kind, name)
            for found in (manifest.get("status") or {}).get("conditions") or ():
                if found.get("observedGeneration") != manifest["metadata"]["generation"] or found["type"] != type_:
                    continue
                message = str(found["message"])
                told.append(f"{found['status']} {found['reason']}: {message}")
                if found["reason"] == reason and status in ("", found["status"]) and all(w in message for w in words):
                    return message
            return ""

        told: list[str] = []
        try:
            message: str = await until(f"{kind}/{name} to say {type_} {reason}", look, seconds=seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it says {told[-1:]}") from None
        return message

    @asynccontextmanager
    async def neighbour(self, name: str) -> AsyncIterator["Story"]:
        """Give another namespace beside this one, whose name begins with this one's, and take it away."""
        kubectl = self.kubectl.within(f"{self.kubectl.namespace}-{name}")
        await kubectl.create_namespace()
        try:
            yield Story(self.platform, kubectl)
        finally:
            await kubectl.delete_namespace()

    async def rooms(self, server: str = SERVER) -> Rooms:
        """Return the rooms of this namespace's server, asked of the server itself."""
        (manifest,) = await self.ready("livekitserver", server)
        keys = await self.kubectl.secret(manifest["status"]["keysSecretName"])
        return Rooms(manifest["status"]["externalUrl"], keys["apiKey"], keys["apiSecret"])


def pytest_sessionstart(session: pytest.Session) -> None:
    """Tell how far the stories are, from the process that reports."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(session.config, "workerinput"):
        meter = Meter() if find_target().local else None
        if meter:
            meter.start()
        session.config.pluginmanager.register(Progress(reporter.write_line, meter=meter), "stories")


@pytest.fixture(scope="session")
def platform() -> Platform:
    """Install the chart and the stand-ins into the cluster that is up, once for all processes that run stories."""
    target = find_target()
    images = install.find_images(target)

    async def prepare() -> None:
        base_urls = await install.install_providers(target, images)
        await install.install_chart(target, images, base_urls=base_urls)
        await install.remove_demo(target)

    # One name for all processes, and for all that `make e2e` runs.
    names = (os.environ.get(name) for name in ("STORIES_RUN", "PYTEST_XDIST_TESTRUNUID"))
    run, done = next(filter(None, names), secrets.token_hex(8)), layout.STATE / "platform"
    with locking.exclusive("platform"):
        if not done.exists() or done.read_text() != run:
            asyncio.run(prepare())
            done.write_text(run)
    return Platform(target, Kubectl(target, install.SYSTEM_NAMESPACE))


async def _remove(kubectl: Kubectl) -> None:
    """Delete what runs in a namespace and wait for that, then the namespace, which goes beside the next story."""
    # First what has finalizers, and pods: a namespace that has any is looked at again only after eight seconds, or
    # after half of the longest grace period (pkg/controller/namespace/namespace_controller.go).
    await _clear(kubectl, OWN_KINDS, MANAGED)
    await kubectl("delete", "namespace", kubectl.namespace, "--ignore-not-found", "--wait=false")


async def _clear(kubectl: Kubectl, kinds: str, pods: str) -> None:
    """Delete all resources of some kinds in a namespace, and wait until these pods are gone as well."""
    try:
        await kubectl("delete", kinds, "--all", "--wait", "--timeout", "60s")
        await kubectl("wait", "pods", "--selector", pods, "--for", "delete", "--timeout", "60s")
    except CommandError as error:
        raise CommandError(f"{error}\n{await contents(kubectl)}") from None


@pytest.fixture(scope="session")
def removed(platform: Platform) -> Iterator[set[str]]:
    """Collect the namespaces that are being deleted, and fail in the end when one of them stays."""
    names: set[str] = set()
    yield names

    async def gone() -> bool:
        found = await platform.operator.find("namespaces")
        return not names & {manifest["metadata"]["name"] for manifest in found}

    asyncio.run(until(f"{', '.join(sorted(names))} to be gone", gone, seconds=120))


@pytest.fixture(scope="session")
def kept(removed: set[str]) -> Iterator[dict[str, Kubectl]]:
    """Keep the namespace of each group that shares a server, with the server in it, and remove it in the end."""
    namespaces: dict[str, Kubectl] = {}
    yield namespaces
    for kubectl in namespaces.values():
        asyncio.run(_remove(kubectl))
        removed.add(kubectl.namespace)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember for the story's end whether it failed."""
    report = yield
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture
async def story(
    platform: Platform, removed: set[str], kept: dict[str, Kubectl], request: pytest.FixtureRequest
) -> AsyncIterator[Story]:
    """Give a story an empty namespace and take it away afterwards; where the group shares a server, that stays."""
    began, strain = own_seconds(), Strain.now()
    group = _shares_server(request.node)
    kubectl = kept.pop(group, None) or Kubectl(platform.target, f"story-{secrets.token_hex(3)}")
    await kubectl.create_namespace()
    await kubectl.apply(install.provider_secret(install.TEST_KEYS))
    # Other namespaces of a story begin with its own one's name.
    deployment = f"/apis/apps/v1/namespaces/{install.SYSTEM_NAMESPACE}/deployments/{install.RELEASE}"
    async with Witness(platform.target, lambda name: name.startswith(kubectl.namespace), deployment) as witness:
        yield Story(platform, kubectl)
    failed = request.node.stash.get(_FAILED, False)
    if failed:
        print(f"The machine meanwhile: {Strain.now().since(strain)}")
        print(await contents(kubectl, last_lines=_LAST_LINES))
        words = (f"deployment/{install.RELEASE}",)
        told = await lines_of(platform.operator, *words, containing=kubectl.namespace, last_lines=_LAST_LINES)
        print("What the operator said of it:", *told, sep="\n")
        print(f"Again, alone: .venv/bin/python -m pytest '{plain(request.node.nodeid)}'")
    if group and not failed:
        await _clear(kubectl, "meetingrooms,voiceagentpools", AGENT)
        kept[group] = kubectl
    else:
        await _remove(kubectl)
        removed.add(kubectl.namespace)
    request.node.user_properties += [(NAMESPACE, kubectl.namespace), (SECONDS, f"{own_seconds() - began:.1f}")]
    assert not witness.jury.found, "\n".join(["What statuses said that cannot be:", *witness.jury.found.values()])


def _shares_server(item: pytest.Item) -> str:
    """Return the group with whose stories one shares a server, empty when it has its own."""
    if (mark := item.get_closest_marker("one_server")) is None:
        return ""
    return str(mark.args[0])
