"""The cluster's own certificate authority, and the certificates and keys of everything that speaks TLS in it."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster import addresses, layout

# The cluster lives for hours or days; a certificate that ran out would only puzzle its user.
_VALIDITY = datetime.timedelta(days=3650)

CA = layout.PKI / "ca.crt"
CA_KEY = layout.PKI / "ca.key"
SERVICE_ACCOUNT_KEY = layout.PKI / "service-account.key"
SERVICE_ACCOUNT_PUBLIC_KEY = layout.PKI / "service-account.pub"


@dataclass(frozen=True)
class Identity:
    """A certificate to issue: for a server when it has addresses or names, for a client when it has none."""

    file: str
    common_name: str
    organization: str | None = None
    addresses: tuple[IPv4Address, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def certificate(self) -> Path:
        """The certificate's file."""
        return layout.PKI / f"{self.file}.crt"

    @property
    def key(self) -> Path:
        """The private key's file."""
        return layout.PKI / f"{self.file}.key"


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as in a .crt file."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as in a .key file."""
        return _private_pem(self.key)


ADMIN = Identity("admin", "livekit-operator-local-admin", "system:masters")
API_SERVER = Identity(
    "kube-apiserver",
    "kube-apiserver",
    addresses=(addresses.HOST, addresses.KUBERNETES_SERVICE, IPv4Address("127.0.0.1")),
    names=(
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{addresses.CLUSTER_DOMAIN}",
        "localhost",
    ),
)
API_SERVER_TO_KUBELETS = Identity("kube-apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
CONTROLLER_MANAGER = Identity("kube-controller-manager", "system:kube-controller-manager")
SCHEDULER = Identity("kube-scheduler", "system:kube-scheduler")
PROXY = Identity("kube-proxy", "system:kube-proxy")


def kubelet_client(node: str) -> Identity:
    """What the node authorizer and NodeRestriction know a kubelet by."""
    return Identity(f"{node}-kubelet-client", f"system:node:{node}", "system:nodes")


def kubelet_server(node: str, address: IPv4Address) -> Identity:
    """What a kubelet serves logs and exec with."""
    return Identity(f"{node}-kubelet", f"system:node:{node}", "system:nodes", (address,), (node,))


def ensure_authority() -> None:
    """Create the certificate authority and the service accounts' signing key, once."""
    layout.PKI.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not CA.exists():
        _write_pair(CA, CA_KEY, make_authority("livekit-operator-local-ca"))
    if not SERVICE_ACCOUNT_PUBLIC_KEY.exists():
        signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _write(SERVICE_ACCOUNT_KEY, _private_pem(signing))
        public = signing.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _write(SERVICE_ACCOUNT_PUBLIC_KEY, public)


def ensure(identities: Sequence[Identity]) -> None:
    """Issue the certificates that do not exist yet."""
    for identity in identities:
        if not identity.certificate.exists():
            _issue(identity)


def _issue(identity: Identity) -> None:
    authority_key = serialization.load_pem_private_key(CA_KEY.read_bytes(), password=None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    authority = Pair(x509.load_pem_x509_certificate(CA.read_bytes()), authority_key)
    issued = make_certificate(
        authority,
        identity.common_name,
        organization=identity.organization,
        addresses=identity.addresses,
        names=identity.names,
    )
    _write_pair(identity.certificate, identity.key, issued)


def make_authority(common_name: str) -> Pair:
    """Make a certificate authority that signs others."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    builder = (
        _builder(name, name, key, _VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def make_certificate(
    authority: Pair,
    common_name: str,
    *,
    organization: str | None = None,
    addresses: Sequence[IPv4Address] = (),
    names: Sequence[str] = (),
    validity: datetime.timedelta = _VALIDITY,
) -> Pair:
    """Make a certificate: a server's when it has addresses or names, a client's when it has none."""
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives: list[x509.GeneralName] = [x509.IPAddress(address) for address in addresses]
    alternatives += [x509.DNSName(name) for name in names]
    usage = ExtendedKeyUsageOID.SERVER_AUTH if alternatives else ExtendedKeyUsageOID.CLIENT_AUTH
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _builder(_name(common_name, organization), authority.certificate.subject, key, validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(issuer_key, critical=False)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, validity: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + validity)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_pair(path: Path, key_path: Path, pair: Pair) -> None:
    # The certificate last: where it exists, the pair is whole.
    _write(key_path, pair.key_pem)
    _write(path, pair.certificate_pem)


def _write(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")
    new.touch(mode=0o600)
    new.write_bytes(content)
    new.replace(path)
