"""The OCI layout that holds built images, and archives of one image without the layers a node already has."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from tests.cluster import layout

FOLDER = layout.CACHE / "images" / "layout"
_MEDIA = "application/vnd.oci.image"
_TAG = "org.opencontainers.image.ref.name"


def manifest_digest(tag: str) -> str | None:
    """The digest of the image with this tag; None when it is not there."""
    for entry in _index().get("manifests", []):
        if entry.get("annotations", {}).get(_TAG) == tag:
            return str(entry["digest"])
    return None


def add(tag: str, docker_archive: IO[bytes]) -> None:
    """Add the image in a Docker archive under this tag; layers that are there are not written again."""
    documents = {}
    with tarfile.open(fileobj=docker_archive, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                # Links, for readers of the format's first version.
                continue
            if member.name.endswith(".tar") and "/" not in member.name:
                _write_blob(f"sha256:{member.name.removesuffix('.tar')}", content)
            elif member.name.endswith(".json"):
                documents[member.name] = content.read()
    description = json.loads(documents["manifest.json"])[0]
    config = _write_bytes(documents[description["Config"]])
    layers = [f"sha256:{name.removesuffix('.tar')}" for name in description["Layers"]]
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": _descriptor(f"{_MEDIA}.config.v1+json", config),
        "layers": [_descriptor(f"{_MEDIA}.layer.v1.tar", layer) for layer in layers],
    }
    entry = _descriptor(f"{_MEDIA}.manifest.v1+json", _write_bytes(json.dumps(manifest).encode()))
    others = [other for other in _index().get("manifests", []) if other["annotations"][_TAG] != tag]
    _write_json(
        FOLDER / "index.json",
        {"schemaVersion": 2, "manifests": [*others, {**entry, "annotations": {_TAG: tag}}]},
    )


def _descriptor(media_type: str, digest: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": _blob(digest).stat().st_size}


def _write_bytes(content: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    _write_blob(digest, io.BytesIO(content))
    return digest


def _write_blob(digest: str, content: IO[bytes]) -> None:
    path = _blob(digest)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with new.open("wb") as target:
        shutil.copyfileobj(content, target, 1 << 20)
    new.replace(path)


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
    annotations = {"io.containerd.image.name": reference, _TAG: reference.rpartition(":")[2]}
    entry = {**_descriptor(f"{_MEDIA}.manifest.v1+json", digest), "annotations": annotations}
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
