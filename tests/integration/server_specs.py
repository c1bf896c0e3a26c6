"""LiveKitServer specs that nobody thought of, for property tests.

A spec begins as one that mostly is right, made of what is known of its fields. Then fields anywhere in the schema are
set to what their schema allows, extremes first, or to anything at all.
"""

import copy
import itertools
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

Schema = dict[str, Any]
Strategy = st.SearchStrategy[Any]
Spec = dict[str, Any]

_CRD = Path(__file__).resolve().parents[2] / "crds" / "livekit-operator.dev_livekitservers.yaml"
# Parts of pods, which the configuration has nothing of, and what the property test makes itself.
_LEFT_OUT = ("podTemplate", "resources", "extraConfig")
_UNKNOWN = "x-kubernetes-preserve-unknown-fields"

_PORTS = [1, 443, 3478, 5349, 6789, 7880, 7881, 7882, 30000, 32767, 40000, 49999, 50100, 50200, 65535]
_FORMATS = {
    "cidr": ["10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::1/128", "10.0.0.0/33", "::::/1", "1.2.3/8", "fe80::/129"],
    "ipv4": ["127.0.0.1", "0.0.0.0", "255.255.255.255", "1.2.3", "256.1.1.1", "01.2.3.4"],
    "ipv6": ["::", "::1", "2001:db8::1", "::::", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8:9"],
}


def schema() -> Schema:
    """Return the schema of `spec` as the CRD of this checkout has it."""
    crd = yaml.safe_load(_CRD.read_text())
    found: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    kept = {name: value for name, value in found["properties"].items() if name not in _LEFT_OUT}
    return {**found, "properties": kept}


def ports() -> Strategy:
    """Return port numbers, those that defaults use more often."""
    return st.sampled_from(_PORTS) | st.integers(1, 65535)


def port_ranges() -> Strategy:
    """Return ranges of ports in the right order."""
    return st.tuples(ports(), ports()).map(lambda pair: {"start": min(pair), "end": max(pair)})


def anything() -> Strategy:
    """Return any value that JSON has."""
    # The API server's numbers are 64 bits wide.
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=20)
    )
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | _objects(inner), max_leaves=5)


def _objects(values: Strategy) -> Strategy:
    return st.dictionaries(st.text(max_size=10), values, max_size=3)


def _media() -> Strategy:
    small = st.tuples(ports(), st.integers(0, 15)).map(lambda p: {"start": p[0], "end": min(65535, p[0] + p[1])})
    udp = st.builds(lambda found: {"portRange": found}, port_ranges()) | st.builds(
        lambda found: {"muxPorts": found}, small
    )
    common = {
        "iceLite": st.booleans(),
        "allowTcpFallback": st.booleans(),
        "nodeIp": st.sampled_from(["1.2.3.4", "::1"]),
        "turnServers": st.just(
            [{"host": "t.example.com", "port": 3478, "protocol": "tls", "credentialsSecretRef": {"name": "turn"}}]
        ),
    }
    host = {
        "udp": udp,
        "tcpPort": ports(),
        "interfaces": st.just({"includes": ["eth0"], "excludes": ["docker0"]}),
        "ips": st.just({"excludes": ["10.0.0.0/8"]}),
        "iceLite": st.booleans(),
    }
    discovered = {
        **host,
        "stunServers": st.just(["stun.example.com:3478"]),
        "advertiseInternalIp": st.booleans(),
    }
    return st.one_of(
        st.fixed_dictionaries({}, optional={**common, **host}),
        st.fixed_dictionaries({"discoverExternalIp": st.just(True)}, optional=discovered),
        st.fixed_dictionaries({"exposure": st.just("NodePort")}, optional={**common, "nodePorts": port_ranges()}),
        st.fixed_dictionaries(
            {"exposure": st.just("NodePort"), "discoverExternalIp": st.just(True)},
            optional={"nodePorts": port_ranges(), "advertiseInternalIp": st.booleans()},
        ),
        st.fixed_dictionaries(
            {"exposure": st.just("LoadBalancer")},
            optional={**common, "udp": st.builds(lambda found: {"muxPorts": found}, small), "tcpPort": ports()},
        ),
        st.fixed_dictionaries(
            {"exposure": st.just("LoadBalancer"), "loadBalancer": st.just({"iceTcp": False})}, optional=common
        ),
    )


def _turn() -> Strategy:
    certificate = st.sampled_from([{"secretName": "turn"}, {"issuerRef": {"name": "le"}}])
    tls = st.fixed_dictionaries({"certificate": certificate}, optional={"port": ports()}) | st.fixed_dictionaries(
        {"external": st.just(True)}, optional={"port": ports()}
    )
    cidrs = st.lists(st.sampled_from(["10.0.0.0/8", "::/0"]), max_size=2)
    optional = {
        "ttlSeconds": st.integers(1, 86400),
        "relayRange": port_ranges(),
        "allowedPeerCidrs": cidrs,
        "deniedPeerCidrs": cidrs,
    }
    domain = {"domain": st.just("turn.example.com")}
    return st.one_of(
        st.fixed_dictionaries({}, optional={**optional, **domain}),
        st.fixed_dictionaries({"udpPort": ports()}, optional=optional),
        st.fixed_dictionaries({**domain, "tls": tls}, optional={**optional, "udp": st.booleans()}),
    )


def _redis() -> Strategy:
    password = {"passwordSecretRef": st.just({"name": "redis", "key": "password"})}
    tls = st.fixed_dictionaries(
        {},
        optional={
            "serverName": st.text(min_size=1, max_size=20),
            "caSecretRef": st.just({"name": "ca", "key": "ca.crt"}),
            "clientCertificateSecretRef": st.just({"name": "client"}),
            "insecureSkipVerify": st.booleans(),
        },
    )
    common = {**password, "username": st.text(min_size=1, max_size=20), "tls": tls}
    addresses = st.lists(st.sampled_from(["a:1", "redis.db:6379", "[::1]:65535"]), min_size=1, max_size=3)
    sentinel = st.fixed_dictionaries(
        {"masterName": st.text(min_size=1, max_size=20), "addresses": addresses}, optional=password
    )
    return st.one_of(
        st.just({"managed": {}}),
        st.fixed_dictionaries({"address": st.just("redis.db:6379")}, optional={**common, "db": st.integers(0, 1023)}),
        st.fixed_dictionaries({"sentinel": sentinel}, optional={**common, "db": st.integers(0, 1023)}),
        st.fixed_dictionaries({"cluster": st.builds(lambda a: {"addresses": a}, addresses)}, optional=common),
    )


def _extra_config() -> Strategy:
    """Return what the configuration may have beside the fields, in the server's own words."""
    turn_servers = [{"host": "t", "port": 1, "protocol": "udp", "username": "u", "secret_file": "/x/y"}]
    presets = _objects(st.fixed_dictionaries({}, optional={"max_participants": st.integers(0, 9)}))
    layers = st.dictionaries(
        st.integers(-(2**31), 2**31 - 1).map(str),
        st.fixed_dictionaries({}, optional={"samples_required": st.integers(0, 2**32 - 1)}),
        max_size=3,
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "rtc": st.just({"packet_buffer_size_audio": 3, "turn_servers": turn_servers, "force_tcp": True}),
            "room": st.fixed_dictionaries(
                {"create_room_timeout": st.just("3s")}, optional={"room_configurations": presets}
            ),
            "redis": st.just({"pool_size": 3, "pool_timeout": "5s"}),
            "video": st.builds(lambda found: {"stream_tracker_manager": {"video": {"packet_tracker": found}}}, layers),
            "logging": st.builds(lambda found: {"component_levels": found}, _objects(st.just("debug"))),
            "turn": st.just({"bind_addresses": ["::"]}),
            "limit": st.just({"max_data_blob_key_length": 5}),
            "webhook": st.just({"url_notifier": {"num_workers": 1}}),
            "enable_data_tracks": st.booleans(),
        },
    )


def plausible_specs() -> Strategy:
    """Return specs that mostly are right."""
    regions = st.text(min_size=1, max_size=20).map(
        lambda name: {
            "region": name,
            "nodeSelection": {"kind": "regionaware", "regions": [{"name": name, "latitude": 0.5, "longitude": -180}]},
        }
    )
    signal = st.fixed_dictionaries({}, optional={"port": ports()})
    whole = st.fixed_dictionaries(
        {"media": _media()},
        optional={
            "signal": signal,
            "turn": _turn(),
            "redis": _redis(),
            "prometheus": st.fixed_dictionaries({}, optional={"port": ports()}),
            "agents": st.fixed_dictionaries({}, optional={"targetLoad": st.floats(0.01, 10)}),
            "extraConfig": _extra_config(),
        },
    )
    return st.builds(lambda spec, placed: {**spec, **placed}, whole, st.just({}) | st.just({}) | regions)


def allowed(node: Schema) -> Strategy:
    """Return values that a schema allows, as far as it says; CEL rules it says nothing of."""
    if "enum" in node:
        return st.sampled_from(node["enum"])
    kind = node.get("type")
    if kind == "object" and node.get("properties"):
        required = set(node.get("required", ()))
        inner = {name: allowed(value) for name, value in node["properties"].items()}
        return st.fixed_dictionaries(
            {name: value for name, value in inner.items() if name in required},
            optional={name: value for name, value in inner.items() if name not in required},
        )
    if kind == "object":
        return _objects(anything() if node.get(_UNKNOWN) else allowed(node.get("additionalProperties") or {}))
    if kind == "array":
        return st.lists(allowed(node["items"]), min_size=node.get("minItems", 0), max_size=3)
    if kind == "integer":
        least, most = node.get("minimum", -(2**31)), node.get("maximum", 2**31 - 1)
        return st.sampled_from([least, most]) | st.integers(least, most)
    if kind == "number":
        return st.floats(node.get("minimum"), node.get("maximum"), allow_nan=False, allow_infinity=False)
    if kind == "boolean":
        return st.booleans()
    if kind == "string":
        return _texts(node)
    return anything()


def _texts(node: Schema) -> Strategy:
    formats = [node.get("format"), *(choice.get("format") for choice in node.get("oneOf", ()))]
    known = [text for name in formats if name in _FORMATS for text in _FORMATS[name]]
    if known:
        return st.sampled_from(known)
    if pattern := node.get("pattern"):
        return st.from_regex(pattern).filter(lambda text: len(text) <= node.get("maxLength", 100))
    return st.text(min_size=node.get("minLength", 0), max_size=min(30, node.get("maxLength", 30)))


def _places(node: Schema, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Schema]]:
    """Return every field of a schema with its path; that of a list's first item for lists."""
    found = [(path, node)] if path else []
    for name, value in (node.get("properties") or {}).items():
        found += _places(value, (*path, name))
    if node.get("type") == "array":
        found += _places(node["items"], (*path, 0))
    return found


def _with(spec: Spec, path: tuple[str | int, ...], value: Any) -> Spec:
    """Return a spec with a value at a path; what is on the way there and is nothing becomes something."""
    changed: Any = copy.deepcopy(spec)
    node: Any = changed
    for here, following in itertools.pairwise(path):
        empty: Any = [] if isinstance(following, int) else {}
        if isinstance(node, list):
            node[:1] = node[:1] or [empty]
            node = node[0]
        else:
            node = node.setdefault(here, empty)
        if not isinstance(node, type(empty)):
            return spec
    if isinstance(node, list):
        node[:1] = [value]
    else:
        node[path[-1]] = value
    found: Spec = changed
    return found


_FIELDS = _places(schema())


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Return specs: plausible ones, ones with single fields set to what their schema allows, and wild ones."""
    spec: Spec = draw(plausible_specs())
    for _ in range(draw(st.sampled_from([0, 0, 1, 2, 3]))):
        path, node = draw(st.sampled_from(_FIELDS))
        spec = _with(spec, path, draw(allowed(node)))
    if draw(st.integers(0, 9)) == 0:
        path, _ = draw(st.sampled_from(_FIELDS))
        spec = _with(spec, path, draw(anything()))
    return spec
