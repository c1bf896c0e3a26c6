"""A story's certificate is accepted by a client that trusts its authority, under its own name only."""

import ssl
from pathlib import Path

import pytest

from tests.harness.certificates import make_authority, tls_secret


def handshake(secret: dict[str, str], server_name: str, folder: Path) -> None:
    """Let a client and a server shake hands in memory."""
    for name, content in secret.items():
        (folder / name).write_text(content)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    trusting = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=server_name)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


@pytest.mark.parametrize("name", ["turn.example.test", "10.89.0.11"])
def test_a_client_that_trusts_the_authority_accepts(name: str, tmp_path: Path) -> None:
    secret = tls_secret("tls", make_authority("story"), names=["turn.example.test"], addresses=["10.89.0.11"])
    assert secret["type"] == "kubernetes.io/tls"
    handshake(secret["stringData"], name, tmp_path)


def test_another_name_is_refused(tmp_path: Path) -> None:
    secret = tls_secret("tls", make_authority("story"), names=["turn.example.test"])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(secret["stringData"], "other.example.test", tmp_path)


def test_another_authority_is_refused(tmp_path: Path) -> None:
    secret = tls_secret("tls", make_authority("story"), names=["turn.example.test"])
    secret["stringData"]["ca.crt"] = make_authority("story").certificate_pem.decode()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(secret["stringData"], "turn.example.test", tmp_path)
