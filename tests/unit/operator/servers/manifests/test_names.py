"""Which image servers run."""

import pytest

from livekit_operator.servers.manifests import names
from tests.fakes import models


@pytest.mark.parametrize(
    ("spec", "image"),
    [
        ({}, "mirror/livekit-server:v1.13.5"),
        ({"version": "v1.14.0"}, "mirror/livekit-server:v1.14.0"),
        ({"image": "own@sha256:abc"}, "own@sha256:abc"),
    ],
)
def test_images(spec: dict[str, str], image: str) -> None:
    assert names.image(models.server(**spec), "mirror/livekit-server") == image
