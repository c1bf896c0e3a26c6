"""A Redis that a story brings along, as one of the ways in which others run it.

    redis = await run_plain(kubectl)                 one server with a password
    redis = await run_tls(kubectl)                   the same, TLS only, with an authority of its own
    redis = await run_sentinel(kubectl)              a server and a sentinel that names it
    redis = await run_cluster(kubectl)               a cluster of one node with all slots

Passwords are in Secrets and in files made from them, never in an argument list. Nothing is kept when a pod is replaced.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from tests.cluster import layout
from tests.harness.certificates import make_authority, tls_secret
from tests.harness.kubectl import Kubectl, Manifest, until

PORT = 6379
SENTINEL_PORT = 26379
PASSWORD_KEY = "password"
SENTINEL_MASTER = "livekit"

_CONFIG, _TLS, _DATA = "/etc/redis", "/etc/redis-tls", "/data"
# Both write to their configuration: it must not be in the read-only folder of a Secret.
_COPY = f'cp --no-preserve=mode --remove-destination {_CONFIG}/* {_DATA}/ && exec "$@"'
_MEMORY_ONLY = 'save ""\nappendonly no\nprotected-mode no\n'
# One node that has every slot, as it would write it itself (cluster.c, clusterSaveConfig); it knows no other.
_SLOTS = "0-16383"


@dataclass(frozen=True)
class Redis:
    """A Redis that runs, and the names of what leads to it; what a kind does not have is empty."""

    kubectl: Kubectl
    name: str
    password_secret: str
    """Holds the password under the key `password`."""
    address: str = ""
    sentinel_addresses: tuple[str, ...] = ()
    sentinel_master: str = ""
    sentinel_password_secret: str = ""
    cluster_addresses: tuple[str, ...] = ()
    tls_secret: str = ""
    """Of type kubernetes.io/tls: the server's certificate, and its authority's under the key `ca.crt`."""

    async def cli(self, *words: str) -> str:
        """Run a command in the server with redis-cli; raises CommandError when the server cannot be asked."""
        encryption = ("--tls", "--cacert", f"{_TLS}/ca.crt") if self.tls_secret else ()
        # It finds the password in its environment.
        command = ("redis-cli", "-e", "-p", str(PORT), *encryption, *words)
        return (await self.kubectl("exec", f"deployment/{self.name}", "--", *command)).strip()

    async def flush(self) -> None:
        """Forget everything, as a Redis does that lost its memory."""
        await self.cli("FLUSHALL")

    async def keys(self) -> list[str]:
        """Return the names of everything in it."""
        return sorted((await self.cli("KEYS", "*")).split())

    async def stop(self) -> None:
        """Take the server away until `start`; its Service and Secrets stay."""
        await self.kubectl("scale", f"deployment/{self.name}", "--replicas=0")
        await self.kubectl("wait", "pod", "--selector", f"app={self.name}", "--for=delete", "--timeout=60s")

    async def start(self) -> None:
        """Bring the server back, empty."""
        await self.kubectl("scale", f"deployment/{self.name}", "--replicas=1")
        await _answers(self)


async def run_plain(kubectl: Kubectl, name: str = "redis") -> Redis:
    """Run a server with a password."""
    redis = Redis(kubectl, name, f"{name}-auth", address=_address(kubectl, name))
    password = await _make_password(kubectl, redis.password_secret)
    config = {"redis.conf": f"port {PORT}\nrequirepass {password}\n{_MEMORY_ONLY}"}
    await kubectl.apply(*_server(redis, name, config, PORT, args=[f"{_CONFIG}/redis.conf"]))
    await _answers(redis)
    return redis


async def run_tls(kubectl: Kubectl, name: str = "redis") -> Redis:
    """Run a server with a password that speaks nothing but TLS, with a certificate for its Service's name."""
    redis = Redis(kubectl, name, f"{name}-auth", address=_address(kubectl, name), tls_secret=f"{name}-tls")
    password = await _make_password(kubectl, redis.password_secret)
    names = [_host(kubectl, name), f"{_host(kubectl, name)}.cluster.local"]
    await kubectl.apply(tls_secret(redis.tls_secret, make_authority(f"{name} of a story"), names=names))
    files = {"cert-file": "tls.crt", "key-file": "tls.key", "ca-cert-file": "ca.crt"}
    encryption = "".join(f"tls-{option} {_TLS}/{file}\n" for option, file in files.items())
    text = f"port 0\ntls-port {PORT}\n{encryption}tls-auth-clients no\nrequirepass {password}\n{_MEMORY_ONLY}"
    await kubectl.apply(*_server(redis, name, {"redis.conf": text}, PORT, args=[f"{_CONFIG}/redis.conf"]))
    await _answers(redis)
    return redis


async def run_sentinel(kubectl: Kubectl, name: str = "redis") -> Redis:
    """Run a server and a sentinel, each with a password of its own; the sentinel names the server by its Service."""
    sentinel = f"{name}-sentinel"
    redis = Redis(
        kubectl,
        name,
        f"{name}-auth",
        sentinel_addresses=(_address(kubectl, sentinel, SENTINEL_PORT),),
        sentinel_master=SENTINEL_MASTER,
        sentinel_password_secret=f"{sentinel}-auth",
    )
    password = await _make_password(kubectl, redis.password_secret)
    of_sentinel = await _make_password(kubectl, redis.sentinel_password_secret)
    config = {"redis.conf": f"port {PORT}\nrequirepass {password}\n{_MEMORY_ONLY}"}
    await kubectl.apply(*_server(redis, name, config, PORT, args=[f"{_CONFIG}/redis.conf"]))
    await _answers(redis)
    text = (
        f"port {SENTINEL_PORT}\nprotected-mode no\nrequirepass {of_sentinel}\ndir {_DATA}\n"
        "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n"
        f"sentinel monitor {SENTINEL_MASTER} {_host(kubectl, name)} {PORT} 1\n"
        f"sentinel auth-pass {SENTINEL_MASTER} {password}\n"
        f"sentinel down-after-milliseconds {SENTINEL_MASTER} 2000\n"
    )
    command = ["sh", "-ec", _COPY, "sh", "redis-server", f"{_DATA}/sentinel.conf", "--sentinel"]
    await kubectl.apply(*_server(redis, sentinel, {"sentinel.conf": text}, SENTINEL_PORT, command=command))
    await kubectl("rollout", "status", f"deployment/{sentinel}", "--timeout=60s")
    return redis


async def run_cluster(kubectl: Kubectl, name: str = "redis") -> Redis:
    """Run a cluster of one node, with a password."""
    redis = Redis(kubectl, name, f"{name}-auth", cluster_addresses=(_address(kubectl, name),))
    password = await _make_password(kubectl, redis.password_secret)
    node = f"{secrets.token_hex(20)} :0@0 myself,master - 0 0 1 connected {_SLOTS}\n"
    config = {
        "redis.conf": f"port {PORT}\ncluster-enabled yes\ndir {_DATA}\nrequirepass {password}\n{_MEMORY_ONLY}",
        "nodes.conf": f"{node}vars currentEpoch 1 lastVoteEpoch 0\n",
    }
    announced = ["--cluster-announce-ip", "$(POD_IP)"]
    command = ["sh", "-ec", _COPY, "sh", "redis-server", f"{_DATA}/redis.conf", *announced]
    await kubectl.apply(*_server(redis, name, config, PORT, command=command))
    await _answers(redis)

    async def complete() -> bool:
        return "cluster_state:ok" in await redis.cli("CLUSTER", "INFO")

    await until(f"the cluster {name} to have all its slots", complete)
    return redis


async def remove(redis: Redis) -> None:
    """Remove the Redis with everything that leads to it."""
    selector = f"livekit-operator.dev/redis={redis.name}"
    await redis.kubectl("delete", "deployments,services,secrets", "--selector", selector, "--wait")
    made = (redis.password_secret, redis.sentinel_password_secret, redis.tls_secret)
    await redis.kubectl("delete", "secrets", "--ignore-not-found", *filter(None, made))


async def _answers(redis: Redis) -> None:
    await redis.kubectl("rollout", "status", f"deployment/{redis.name}", "--timeout=60s")

    async def pong() -> bool:
        return await redis.cli("PING") == "PONG"

    await until(f"Redis {redis.name} to answer", pong)


async def _make_password(kubectl: Kubectl, secret: str) -> str:
    password = secrets.token_hex(16)
    metadata = {"name": secret}
    await kubectl.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {PASSWORD_KEY: password}}
    )
    return password


def _host(kubectl: Kubectl, name: str) -> str:
    return f"{name}.{kubectl.namespace}.svc"


def _address(kubectl: Kubectl, name: str, port: int = PORT) -> str:
    return f"{_host(kubectl, name)}:{port}"


def _server(
    redis: Redis, name: str, config: Mapping[str, str], port: int, **run: list[str]
) -> tuple[Manifest, Manifest, Manifest]:
    """A server's configuration, Deployment and Service; `run` is its `command` or `args`."""
    labels = {"app": name, "livekit-operator.dev/redis": redis.name}
    metadata = {"name": name, "labels": labels}
    secret_of = redis.password_secret if name == redis.name else redis.sentinel_password_secret
    folders = {"config": _CONFIG, "data": _DATA, **({"tls": _TLS} if redis.tls_secret else {})}
    sources = {"config": f"{name}-config", "tls": redis.tls_secret}
    container = {
        "name": "redis",
        "image": json.loads(layout.IMAGES.read_text())["redis"],
        **run,
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            # What redis-cli takes its password from.
            {"name": "REDISCLI_AUTH", "valueFrom": {"secretKeyRef": {"name": secret_of, "key": PASSWORD_KEY}}},
        ],
        "ports": [{"containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": volume, "mountPath": folder} for volume, folder in folders.items()],
    }
    volumes = [
        {"name": volume, "emptyDir": {}} if volume == "data" else _mounted_secret(volume, sources[volume])
        for volume in folders
    ]
    pod = {
        "metadata": {"labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": volumes,
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": name}},
            "template": pod,
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**metadata, "name": f"{name}-config"},
        "stringData": dict(config),
    }
    return secret, deployment, service


def _mounted_secret(volume: str, secret: str) -> Manifest:
    return {"name": volume, "secret": {"secretName": secret, "defaultMode": 0o440}}
