"""kubectl as a person uses it, from asyncio; what is only read is asked of the API server itself."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.cluster.kubernetes_version import program
from tests.harness.api import Api, Refused, Unanswered, configuration
from tests.harness.target import Target

T = TypeVar("T")
Manifest = dict[str, Any]
_APIS: dict[Target, Api] = {}


class CommandError(Exception):
    """A command failed; the message is what it printed to standard error."""


async def run(*command: str | Path, stdin: str | None = None) -> str:
    """Run a program and return its output; raises CommandError with its errors."""
    process = await asyncio.create_subprocess_exec(
        *(str(word) for word in command),
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode() if stdin is not None else None)
    if process.returncode != 0:
        raise CommandError(err.decode().strip() or out.decode().strip())
    return out.decode()


class Kubectl:
    """kubectl bound to one context and one namespace."""

    def __init__(self, target: Target, namespace: str) -> None:
        self.target = target
        self.namespace = namespace

    def within(self, namespace: str) -> "Kubectl":
        """Return the same for another namespace."""
        return Kubectl(self.target, namespace)

    async def __call__(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl; raises CommandError with what it says."""
        where = ("--kubeconfig", str(self.target.kubeconfig), "--context", self.target.context)
        return await run(program("kubectl"), *where, "--namespace", self.namespace, *words, stdin=stdin)

    async def apply(self, *manifests: Manifest) -> None:
        """Apply manifests, by standard input: a Secret must not be in an argument list."""
        await self("apply", "--server-side", "--filename", "-", stdin=_list(manifests))

    async def get(self, kind: str, name: str) -> Manifest:
        """Return one object; raises CommandError when there is none."""
        return await _told(self._get(kind, name))

    async def find(self, kinds: str, selector: str = "") -> list[Manifest]:
        """Return the objects of some kinds."""
        return await _told(self._find(kinds, selector))

    async def secret(self, name: str) -> dict[str, str]:
        """Return the decoded values of a Secret."""
        manifest = await self.get("secret", name)
        return {key: base64.b64decode(value).decode() for key, value in (manifest.get("data") or {}).items()}

    async def _get(self, kind: str, name: str) -> Manifest:
        api = await _api(self.target)
        return (await api.read(kind, self.namespace, name)).given()

    async def _find(self, kinds: str, selector: str) -> list[Manifest]:
        api = await _api(self.target)
        return await api.list(kinds, self.namespace, selector)

    async def create_namespace(self, **labels: str) -> None:
        """Create this namespace, or take it as it is."""
        metadata = {"name": self.namespace, "labels": labels}
        await self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    async def delete_namespace(self) -> None:
        """Delete this namespace and wait until it is gone."""
        await self("delete", "namespace", self.namespace, "--ignore-not-found", "--wait", "--timeout", "180s")


async def until(what: str, condition: Callable[[], Any], *, seconds: float = 60.0, every: float = 0.2) -> Any:
    """Wait until an awaitable condition returns something true, and return it.

    Raises TimeoutError that says what was waited for, and the last failure.
    """
    deadline = time.monotonic() + seconds
    failure = ""
    while time.monotonic() < deadline:
        try:
            if found := await condition():
                return found
            failure = ""
        except CommandError as error:
            failure = f": {error}"
        await asyncio.sleep(every)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}{failure}")


async def _told(reading: Awaitable[T]) -> T:
    try:
        return await reading
    except (Refused, Unanswered) as error:
        raise CommandError(str(error)) from None


async def _api(target: Target) -> Api:
    """Return the API server of a cluster, the same one for all tests of this process."""
    if target not in _APIS:
        _APIS[target] = Api(await configuration(target))
    return _APIS[target]


def _list(manifests: tuple[Manifest, ...]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})


def ready(manifest: Manifest) -> Manifest:
    """Return the `Ready` condition of an object that speaks of its current spec, empty when there is none."""
    status = manifest.get("status") or {}
    if status.get("observedGeneration") != manifest["metadata"].get("generation"):
        return {}
    return next((c for c in status.get("conditions") or () if c["type"] == "Ready"), {})


def is_ready(manifest: Manifest) -> bool:
    """Return whether an object says `Ready=True` about its current spec."""
    return bool(ready(manifest).get("status") == "True")
