"""A stand-in for a cloud's load balancer in the local cluster.

It gives Services of type LoadBalancer in one namespace an address from the switch's network, and leads packets for that
address to a node, whose kube-proxy does the rest: with `externalTrafficPolicy: Local` to a node that runs a ready
endpoint, else to any node.

    async with LoadBalancer(kubectl) as balancer:
        address = await balancer.address("voice")
        await balancer.leads_to("voice")
"""

import asyncio
import codecs
import contextlib
import json
import secrets
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address
from types import TracebackType
from typing import Any, Self

from tests.cluster import addresses, nodes, tools
from tests.cluster.machine import Node
from tests.harness.kubectl import CommandError, Kubectl, Manifest, run, until
from tests.harness.target import TargetError

POOL: tuple[IPv4Address, ...] = tuple(addresses.MACHINES[host] for host in range(200, 251))
"""What addresses are taken from; no node has one of them (tests/cluster/addresses.py)."""

# Marks our routes in the kernel, so that those of a run that was killed are found.
_ROUTE_PROTOCOL = "77"
_SERVICE_OF_SLICE = "kubernetes.io/service-name"
_LOOK_SECONDS = 0.2


class LoadBalancer:
    """Watches one namespace, assigns addresses and keeps their routes, until it is left."""

    def __init__(
        self,
        kubectl: Kubectl,
        *,
        hold: bool = False,
        delay: float = 0.0,
        hostname: str | None = None,
        most: int = len(POOL),
        mixed: bool = True,
    ) -> None:
        """Take a namespace; `hold` assigns nothing until `release()`, `delay` only after so many seconds.

        With `hostname` Services get that name instead of an address, as some clouds do; it leads nowhere. There are
        `most` addresses at once, and unless `mixed` none for a Service of two protocols; an Event says who gets none.
        """
        if not kubectl.target.local:
            raise TargetError("Another cluster has a load balancer of its own, or none.")
        self._kubectl = kubectl
        self._delay = delay
        self._hostname = hostname
        self._most = most
        self._mixed = mixed
        self._released = asyncio.Event()
        if not hold:
            self._released.set()
        self._changed = asyncio.Event()
        self._services: dict[str, Manifest] = {}
        self._slices: dict[str, Manifest] = {}
        self._seen: dict[str, float] = {}
        self._refused: set[tuple[str, str]] = set()
        self._assigned: dict[str, str] = {}
        self._routes: dict[str, Node] = {}
        self._nodes = nodes.known()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._remove_strays()
        self._tasks = [
            asyncio.create_task(self._follow("services", self._services)),
            asyncio.create_task(self._follow("endpointslices", self._slices)),
            asyncio.create_task(self._run()),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for address in list(self._routes):
            await self._remove_route(address)
        failures = [each for each in ended if isinstance(each, Exception)]
        if failures and error is None:
            raise failures[0]

    def release(self) -> None:
        """Assign addresses from now on."""
        self._released.set()
        self._changed.set()

    async def address(self, service: str, seconds: float = 30) -> str:
        """Wait until a Service has its address (or hostname), and return it."""

        async def assigned() -> str | None:
            return self._assigned.get(service)

        found: str = await until(f"an address of the load balancer for Service {service}", assigned, seconds=seconds)
        return found

    async def leads_to(self, service: str, node: str | None = None, seconds: float = 30) -> str:
        """Wait until packets for a Service are led to a node, any or this one, and return its name."""

        async def led() -> str | None:
            now = self._routes.get(self._assigned.get(service, ""))
            return now.name if now and node in (None, now.name) else None

        found: str = await until(f"packets for Service {service} to be led to {node or 'a node'}", led, seconds=seconds)
        return found

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            balanced = [service for service in self._services.values() if is_balanced(service)]
            await self._forget({service["metadata"]["name"] for service in balanced})
            for service in balanced:
                # It may be deleted, or the API server away, at any moment: what failed is tried again.
                with contextlib.suppress(CommandError):
                    await self._serve(service)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _LOOK_SECONDS)

    async def _serve(self, service: Manifest) -> None:
        name, now = service["metadata"]["name"], time.monotonic()
        self._seen.setdefault(name, now)
        if name not in self._assigned:
            if not self._released.is_set() or now < self._seen[name] + self._delay:
                return
            if refusal := why_refused(service, free=self._most - len(self._assigned), mixed=self._mixed):
                await self._refuse(service, *refusal)
                return
            await self._assign(name)
        if self._hostname is None:
            await self._lead(self._assigned[name], service)

    async def _refuse(self, service: Manifest, reason: str, message: str) -> None:
        """Tell once in an Event why a Service gets no address."""
        name, uid = service["metadata"]["name"], service["metadata"]["uid"]
        if (uid, reason) in self._refused:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {"apiVersion": "v1", "kind": "Service", "namespace": self._kubectl.namespace, "name": name, "uid": uid}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name}.{secrets.token_hex(8)}"},
            "type": "Warning",
            "reason": reason,
            "message": message,
            "involvedObject": about,
            "source": {"component": "load-balancer"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._kubectl.apply(event)
        self._refused.add((uid, reason))

    async def _assign(self, name: str) -> None:
        if self._hostname is not None:
            given, entry = self._hostname, {"hostname": self._hostname}
        else:
            taken = {*await self._taken(), *self._assigned.values()}
            given = next(str(address) for address in POOL if str(address) not in taken)
            entry = {"ip": given, "ipMode": "VIP"}
        status = json.dumps({"status": {"loadBalancer": {"ingress": [entry]}}})
        await self._kubectl("patch", "service", name, "--subresource", "status", "--type", "merge", "--patch", status)
        self._assigned[name] = given

    async def _taken(self) -> set[str]:
        """The addresses of every Service of the cluster: another namespace may have a stand-in as well."""
        listing = json.loads(await self._kubectl("get", "services", "--all-namespaces", "--output", "json"))
        return {entry["ip"] for service in listing["items"] for entry in _ingress(service) if "ip" in entry}

    async def _lead(self, address: str, service: Manifest) -> None:
        node = choose_node(service, self._slices.values(), self._nodes)
        if node is None:
            await self._remove_route(address)
        elif self._routes.get(address) != node:
            # Not in that node itself: its own kube-proxy takes the packets.
            await _remove_route(node, address)
            for other in (None, *(each for each in self._nodes if each != node)):
                await _ip(other, "replace", f"{address}/32", "via", str(node.address), "proto", _ROUTE_PROTOCOL)
            self._routes[address] = node

    async def _forget(self, names: set[str]) -> None:
        for name in set(self._assigned) - names:
            await self._remove_route(self._assigned.pop(name))
        for name in set(self._seen) - names:
            del self._seen[name]

    async def _remove_route(self, address: str) -> None:
        if self._routes.pop(address, None) is not None:
            for node in (None, *self._nodes):
                await _remove_route(node, address)

    async def _remove_strays(self) -> None:
        """Remove the routes of a run that was killed: those to addresses that no Service has."""
        taken = await self._taken()
        for node in (None, *self._nodes):
            for route in json.loads(await _ip(node, "show", "proto", _ROUTE_PROTOCOL) or "[]"):
                if route["dst"] not in taken:
                    await _remove_route(node, route["dst"])

    async def _follow(self, kind: str, known: dict[str, Manifest]) -> None:
        """Mirror the namespace's objects of a kind."""
        while True:
            known.clear()
            async for event in self._watch(kind):
                name = event["object"]["metadata"]["name"]
                if event["type"] == "DELETED":
                    known.pop(name, None)
                else:
                    known[name] = event["object"]
                self._changed.set()

    async def _watch(self, kind: str) -> AsyncIterator[dict[str, Any]]:
        target = self._kubectl.target
        where = ("--kubeconfig", target.kubeconfig, "--context", target.context, "--namespace", self._kubectl.namespace)
        what = ("get", kind, "--watch", "--output-watch-events", "--output", "json")
        process = await asyncio.create_subprocess_exec(
            tools.path("kubectl"), *where, *what, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
        )
        assert process.stdout
        try:
            async for event in documents(process.stdout):
                yield event
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def documents(stream: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Read JSON documents that follow each other without a separator."""
    decode, parser, text = codecs.getincrementaldecoder("utf-8")().decode, json.JSONDecoder(), ""
    while chunk := await stream.read(1 << 16):
        text = (text + decode(chunk)).lstrip()
        while text:
            try:
                document, end = parser.raw_decode(text)
            except json.JSONDecodeError:
                break  # the rest of it is to come
            yield document
            text = text[end:].lstrip()


def choose_node(service: Manifest, slices: Iterable[Manifest], candidates: Sequence[Node]) -> Node | None:
    """Return the node to lead a Service's packets to; None while `Local` has no ready endpoint anywhere."""
    if service["spec"].get("externalTrafficPolicy") != "Local":
        return candidates[0]
    own = [each for each in slices if each["metadata"]["labels"].get(_SERVICE_OF_SLICE) == service["metadata"]["name"]]
    ready = {
        endpoint.get("nodeName") for each in own for endpoint in each.get("endpoints") or () if _is_ready(endpoint)
    }
    return next((node for node in candidates if node.name in ready), None)


def _is_ready(endpoint: Manifest) -> bool:
    return bool((endpoint.get("conditions") or {}).get("ready"))


def why_refused(service: Manifest, *, free: int, mixed: bool) -> tuple[str, str] | None:
    """Return the reason and message of the Event by which a cloud gives a Service no address, None when it gives one.

    Sources: k8s.io/cloud-provider controllers/service/controller.go with cloud-provider-gcp; metallb internal/allocator
    """
    protocols = {port.get("protocol", "TCP") for port in service["spec"]["ports"]}
    if len(protocols) > 1 and not mixed:
        words = "failed to ensure load balancer: mixed protocol is not supported for LoadBalancer"
        return "SyncLoadBalancerFailed", f"Error syncing load balancer: {words}"
    if free <= 0:
        metadata = service["metadata"]
        name = f"{metadata['namespace']}/{metadata['name']}"
        return "AllocationFailed", f'Failed to allocate IP for "{name}": no available IPs'
    return None


def is_balanced(service: Manifest) -> bool:
    """Return whether a Service wants an address."""
    return bool(service["spec"].get("type") == "LoadBalancer")


def _ingress(service: Manifest) -> list[dict[str, Any]]:
    return list(((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ())


async def _remove_route(node: Node | None, address: str) -> None:
    with contextlib.suppress(CommandError):  # there is none
        await _ip(node, "delete", f"{address}/32", "proto", _ROUTE_PROTOCOL)


async def _ip(node: Node | None, *words: str) -> str:
    """Change or list routes of a node, or of this machine."""
    enter = ("nsenter", f"--net={node.network_namespace}", "--") if node else ()
    return await run(*enter, "ip", "-json", "route", *words)
