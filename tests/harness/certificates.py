"""Certificates for stories with TLS: an authority of the story's own, and Secrets as an issuer would write them.

authority = make_authority("story")
await kubectl.apply(tls_secret("turn-tls", authority, names=["turn.example.test"]))
"""

import datetime
from collections.abc import Sequence
from ipaddress import IPv4Address

from tests.cluster.certificates import Pair, make_authority, make_certificate
from tests.harness.kubectl import Manifest

__all__ = ["Pair", "make_authority", "make_certificate", "tls_secret"]

_DAY = datetime.timedelta(days=1)


def tls_secret(
    name: str,
    authority: Pair,
    *,
    names: Sequence[str] = (),
    addresses: Sequence[str] = (),
    validity: datetime.timedelta = _DAY,
) -> Manifest:
    """Return a Secret of type kubernetes.io/tls with a new certificate for a server, and its authority's in ca.crt."""
    common_name = [*names, *addresses][0]
    parsed = [IPv4Address(address) for address in addresses]
    issued = make_certificate(authority, common_name, addresses=parsed, names=names, validity=validity)
    values = {"tls.crt": issued.certificate_pem, "tls.key": issued.key_pem, "ca.crt": authority.certificate_pem}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name},
        "stringData": {key: value.decode() for key, value in values.items()},
    }
