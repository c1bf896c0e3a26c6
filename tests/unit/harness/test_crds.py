"""The CRDs of others are pinned, with a checksum, and are only those that the stories use."""

import pytest

from tests.cluster import tools
from tests.harness.crds import CERT_MANAGER, GATEWAY_API, Source


@pytest.mark.parametrize("source", [GATEWAY_API, CERT_MANAGER], ids=lambda source: source.name)
def test_every_source_is_pinned_with_a_checksum(source: Source) -> None:
    folder = tools.FOLDER / "crds"
    (pin,) = (line.split() for line in (folder / "go.mod").read_text().splitlines() if source.module in line)
    assert f"{source.module} {pin[1]} h1:" in (folder / "go.sum").read_text()


def test_files_and_crds_are_named_as_their_projects_name_them() -> None:
    assert GATEWAY_API.files[1] == "gateway.networking.k8s.io_gateways.yaml"
    assert CERT_MANAGER.crds[1] == "certificates.cert-manager.io"
