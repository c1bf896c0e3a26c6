"""What livekit-server reads at its start out of Secrets: variables and files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.errors import Blocked, Problem
from livekit_operator.manifests.metadata import Manifest, secret_variable
from livekit_operator.servers.manifests.managed_redis import KEY_PASSWORD, redis_name
from livekit_operator.servers.manifests.turn import turn_certificate_secret

# What can stand in a text of YAML between single quotes as it is.
_QUOTABLE: Final = re.compile(rb"[\x20-\x26\x28-\x7e]{1,512}")
TURN_FOLDER: Final = "/etc/livekit-turn"
REDIS_CA_FOLDER: Final = "/etc/livekit-redis-ca"
REDIS_CLIENT_FOLDER: Final = "/etc/livekit-redis-client"
CA_FILE: Final = "ca.crt"
# Keys of a Secret of type kubernetes.io/tls, and their names as files.
TLS_CERTIFICATE, TLS_KEY = "tls.crt", "tls.key"
_SECRET_FILE_MODE: Final = 0o440


def from_variable(name: str) -> str:
    """Return what stands in the configuration for a variable's value, which the kubelet puts in.

    YAML puts a text that begins like this between single quotes, where any other character stands for itself.
    """
    return f"@variable:{name}@"


def turn_variable(number: int, name: str) -> str:
    """Return the variable that a TURN server's login comes by."""
    return f"TURN_SERVER_{number}_{name}"


@dataclass(frozen=True)
class SecretInput:
    """Values of a Secret that servers read at their start, and the field that asks for them."""

    name: str
    keys: tuple[str, ...]
    field: str
    quoted: bool = False
    """Whether the values become part of the configuration's text."""


def require_quotable(source: SecretInput, key: str, value: bytes) -> None:
    """Raise Blocked when a value would break out of the configuration's text that it is put into."""
    if not _QUOTABLE.fullmatch(value):
        message = (
            f"{key} of Secret {source.name}, which {source.field} names, cannot stand in a configuration: choose one "
            f"of 1 to 512 printable ASCII characters without single quotes."
        )
        raise Blocked(Problem(reasons.SECRET_INVALID, message, retry_after=10.0))


def managed_redis_secret_name(server: LiveKitServer) -> str:
    """Return the name of the Secret with the password of the managed Redis."""
    return redis_name(server)


def secret_environment(server: LiveKitServer) -> list[Manifest]:
    """Return the container's variables whose values are in Secrets."""
    return [secret_variable(variable, source.name, key) for variable, key, source in _variables(server)]


def secret_volumes(server: LiveKitServer) -> tuple[list[Manifest], list[Manifest]]:
    """Return the volumes of Secrets that the configuration names files of, and their mounts."""
    volumes: list[Manifest] = []
    mounts: list[Manifest] = []
    for volume, folder, files, source in _files(server):
        items = [{"key": key, "path": path} for key, path in zip(source.keys, files, strict=True)]
        secret = {"secretName": source.name, "defaultMode": _SECRET_FILE_MODE, "items": items}
        volumes.append({"name": volume, "secret": secret})
        mounts.append({"name": volume, "mountPath": folder, "readOnly": True})
    return volumes, mounts


def secret_inputs(server: LiveKitServer) -> list[SecretInput]:
    """Return everything but the API keys that servers read at their start out of Secrets.

    A change of any of it needs new servers: they never read again. The Secret of a managed Redis is among them.
    """
    # One entry for user name and password of the metrics, which are of one Secret.
    variables = dict.fromkeys(source for _, _, source in _variables(server))
    return [*variables, *(source for *_, source in _files(server))]


def _variables(server: LiveKitServer) -> Iterator[tuple[str, str, SecretInput]]:
    """Yield (variable, key of the Secret, where it is from).

    Source of the names: cmd/server/main.go, and for generated ones pkg/config/config.go GenerateCLIFlags.
    """
    redis, prometheus = server.spec.redis, server.spec.prometheus
    if redis and redis.managed:
        source = SecretInput(managed_redis_secret_name(server), (KEY_PASSWORD,), "spec.redis.managed")
        yield "REDIS_PASSWORD", KEY_PASSWORD, source
    if redis and (ref := redis.password_secret_ref):
        yield "REDIS_PASSWORD", ref.key, SecretInput(ref.name, (ref.key,), "spec.redis.passwordSecretRef")
    if redis and redis.sentinel and (ref := redis.sentinel.password_secret_ref):
        source = SecretInput(ref.name, (ref.key,), "spec.redis.sentinel.passwordSecretRef")
        yield "LIVEKIT_REDIS_SENTINEL_PASSWORD", ref.key, source
    for number, turn in enumerate(server.spec.media.turn_servers):
        field = f"spec.media.turnServers[{number}].credentialsSecretRef"
        source = SecretInput(turn.credentials_secret_ref.name, ("username", "password"), field, quoted=True)
        yield turn_variable(number, "USERNAME"), "username", source
        yield turn_variable(number, "PASSWORD"), "password", source
    if prometheus and (credentials := prometheus.credentials_secret_ref):
        source = SecretInput(credentials.name, ("username", "password"), "spec.prometheus.credentialsSecretRef")
        yield "LIVEKIT_PROMETHEUS_USERNAME", "username", source
        yield "LIVEKIT_PROMETHEUS_PASSWORD", "password", source


def _files(server: LiveKitServer) -> Iterator[tuple[str, str, tuple[str, ...], SecretInput]]:
    """Yield (volume, folder, names of the files, where they are from)."""
    pair = (TLS_CERTIFICATE, TLS_KEY)
    turn_tls = server.spec.turn and server.spec.turn.tls
    name = turn_certificate_secret(server)
    if turn_tls and turn_tls.certificate and name:
        field = "secretName" if turn_tls.certificate.secret_name else "issuerRef"
        source = SecretInput(name, pair, f"spec.turn.tls.certificate.{field}")
        yield "turn-certificate", TURN_FOLDER, pair, source
    tls = server.spec.redis and server.spec.redis.tls
    if tls and (ca := tls.ca_secret_ref):
        source = SecretInput(ca.name, (ca.key,), "spec.redis.tls.caSecretRef")
        yield "redis-ca", REDIS_CA_FOLDER, (CA_FILE,), source
    if tls and (client := tls.client_certificate_secret_ref):
        source = SecretInput(client.name, pair, "spec.redis.tls.clientCertificateSecretRef")
        yield "redis-client-certificate", REDIS_CLIENT_FOLDER, pair, source
