"""What a node holds is read off ctr's listing, and an archive leaves out what is there."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.cluster import oci_layout
from tests.cluster.image_import import parse_images

_TAG = "org.opencontainers.image.ref.name"


def test_references_and_digests_of_a_listing() -> None:
    listing = (
        "REF TYPE DIGEST SIZE PLATFORMS LABELS\n"
        "docker.io/x/y:1 application/vnd.oci.image.manifest.v1+json sha256:aa 1.0 MiB linux/amd64 a=b\n"
    )
    assert list(parse_images(listing)) == [("docker.io/x/y:1", "sha256:aa")]


@pytest.fixture
def layout_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(oci_layout, "FOLDER", tmp_path)
    blobs = tmp_path / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifests = []
    for tag, layers in (("app-1", ["base", "old"]), ("app-2", ["base", "new"]), ("app-x-1", ["base"])):
        for blob in ("config", *layers):
            (blobs / blob).write_text(blob)
        content = {
            "config": {"digest": "sha256:config"},
            "layers": [{"digest": f"sha256:{layer}"} for layer in layers],
        }
        (blobs / f"manifest-{tag}").write_text(json.dumps(content))
        manifests.append({"digest": f"sha256:manifest-{tag}", "annotations": {_TAG: tag}})
    (tmp_path / "index.json").write_text(json.dumps({"manifests": manifests}))
    return tmp_path


@pytest.mark.usefixtures("layout_folder")
def test_an_archive_holds_only_what_is_missing() -> None:
    archive = io.BytesIO()
    oci_layout.write_archive("app-2", "docker.io/x/app:2", {"sha256:base", "sha256:config"}, archive)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as written:
        names = written.getnames()
    assert names == ["oci-layout", "index.json", "blobs/sha256/manifest-app-2", "blobs/sha256/new"]


def test_earlier_builds_are_forgotten_with_what_only_they_used(layout_folder: Path) -> None:
    oci_layout.forget_others("app", "app-2")
    left = {path.name for path in (layout_folder / "blobs" / "sha256").iterdir()}
    assert left == {"manifest-app-2", "manifest-app-x-1", "config", "base", "new"}
    assert oci_layout.manifest_digest("app-1") is None
    assert oci_layout.manifest_digest("app-x-1") == "sha256:manifest-app-x-1"


def _docker_archive(members: dict[str, bytes]) -> io.BytesIO:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    target.seek(0)
    return target


def test_a_docker_archive_becomes_a_tagged_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci_layout, "FOLDER", tmp_path)
    description = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["aa.tar", "bb.tar"]}]
    members = {"aa.tar": b"one", "bb.tar": b"two", "c.json": b"{}", "manifest.json": json.dumps(description).encode()}
    for _ in range(2):
        oci_layout.add("app-1", _docker_archive(members))
    digest = oci_layout.manifest_digest("app-1")
    assert digest is not None
    manifest = json.loads((tmp_path / "blobs" / digest.replace(":", "/")).read_text())
    assert [(layer["digest"], layer["size"]) for layer in manifest["layers"]] == [("sha256:aa", 3), ("sha256:bb", 3)]
    assert len(json.loads((tmp_path / "index.json").read_text())["manifests"]) == 1
