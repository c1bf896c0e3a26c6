"""The OCI layout that holds built images, and archives of one image without the layers a node already has."""

import io
import json
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from tests.cluster import layout

FOLDER = layout.CACHE / "images" / "oci"
_TAG = "org.opencontainers.image.ref.name"


def manifest_digest(tag: str) -> str | None:
    """The digest of the image with this tag; None when it is not there."""
    for entry in _index().get("manifests", []):
        if entry.get("annotations", {}).get(_TAG) == tag:
            return str(entry["digest"])
    return None


def forget_others(name: str, tag: str) -> None:
    """Forget the earlier builds of an image, and whatever no other image shares with them."""
    index = _index()
    index["manifests"] = [entry for entry in index["manifests"] if not _is_superseded(entry, name, tag)]
    _write_json(FOLDER / "index.json", index)
    used = {blob for entry in index["manifests"] for blob in _blobs(entry["digest"])}
    for path in (FOLDER / "blobs" / "sha256").iterdir():
        if f"sha256:{path.name}" not in used:
            path.unlink()


def _is_superseded(entry: dict[str, Any], name: str, tag: str) -> bool:
    other: str = entry.get("annotations", {}).get(_TAG, "")
    return other != tag and other.rpartition("-")[0] == name


def write_archive(tag: str, reference: str, present: Collection[str], target: IO[bytes]) -> None:
    """Write an image as an archive that `ctr images import` takes, leaving out the blobs that are present."""
    digest = manifest_digest(tag)
    if digest is None:
        raise KeyError(tag)
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": _blob(digest).stat().st_size,
        "annotations": {"io.containerd.image.name": reference, _TAG: reference.rpartition(":")[2]},
    }
    with tarfile.open(fileobj=target, mode="w|") as archive:
        _add_json(archive, "oci-layout", {"imageLayoutVersion": "1.0.0"})
        _add_json(archive, "index.json", {"schemaVersion": 2, "manifests": [entry]})
        for blob in _blobs(digest):
            if blob not in present:
                archive.add(_blob(blob), f"blobs/{blob.replace(':', '/')}")


def _index() -> dict[str, Any]:
    try:
        return dict(json.loads((FOLDER / "index.json").read_text()))
    except FileNotFoundError:
        return {}


def _blobs(manifest: str) -> Iterator[str]:
    """A manifest's digest, and those of everything that it names."""
    content = json.loads(_blob(manifest).read_text())
    yield manifest
    yield content["config"]["digest"]
    # A layer may be there twice, such as an empty one.
    yield from dict.fromkeys(layer["digest"] for layer in content["layers"])


def _blob(digest: str) -> Path:
    return FOLDER / "blobs" / digest.replace(":", "/")


def _add_json(archive: tarfile.TarFile, name: str, content: Any) -> None:
    data = json.dumps(content).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _write_json(path: Path, content: Any) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(content))
    new.replace(path)
