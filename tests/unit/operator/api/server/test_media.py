"""Addresses, ports and names of media as they may be written."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from livekit_operator.api.server.media import Cidr, HostPort, InterfaceName, IpAddress, Media, MediaLoadBalancer


def test_the_least_a_user_must_write() -> None:
    media = Media.model_validate({})
    assert (media.exposure, media.udp, media.tcp_port, media.allow_tcp_fallback) == ("HostNetwork", None, None, True)
    assert MediaLoadBalancer.model_validate({}).ice_tcp


def test_a_wrong_value_is_named() -> None:
    with pytest.raises(ValidationError, match="tcpPort"):
        Media.model_validate({"tcpPort": 0})


@pytest.mark.parametrize(
    ("kind", "text", "taken"),
    [
        (Cidr, "10.0.0.0/8", True),
        (Cidr, "fd00::/8", True),
        (Cidr, "10.0.0.1", False),
        (Cidr, "example.com/8", False),
        (IpAddress, "10.0.0.1", True),
        (IpAddress, "2001:db8::1", True),
        (IpAddress, "node-1", False),
        (IpAddress, "", False),
        (InterfaceName, "eth0", True),
        (InterfaceName, "eth0/1", False),
        (InterfaceName, "a name of sixteen", False),
        (InterfaceName, "eth 0", False),
        (HostPort, "redis.example.com:6379", True),
        (HostPort, "[2001:db8::1]:6379", True),
        (HostPort, "redis.example.com", False),
        (HostPort, "2001:db8::1:6379", False),
        (HostPort, "redis:0", False),
        (HostPort, "redis://redis:6379", False),
    ],
)
def test_how_addresses_are_written(kind: Any, text: str, taken: bool) -> None:
    if taken:
        assert TypeAdapter(kind).validate_python(text) == text
        return
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)
