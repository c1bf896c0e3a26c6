"""The records of a pool's versions, in a Secret: whoever may write Secrets decides what pods do anyway."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.manifests.metadata import COMPONENT_AGENT, Manifest, opaque_secret, read_json
from livekit_operator.moments import read_moment, timestamp
from livekit_operator.pools.manifests.children import child_name

REVISION_LENGTH = 10


@dataclass(frozen=True)
class Record:
    """What the operator noted of a version: when it was new, a digest of its content, and what became of it.

    `served` is whether a pod of it was ever ready, `proven` when a rollout to it was complete, `failed` why it must not
    be rolled out again; None before that.
    """

    content: str
    created: datetime
    proven: datetime | None = None
    failed: str | None = None
    served: bool = False


def records_name(pool: VoiceAgentPool) -> str:
    """Return the name of the Secret with what was noted of a pool's versions."""
    return f"{child_name(pool)}-versions"


def build_records(pool: VoiceAgentPool, records: Mapping[str, Record]) -> Manifest:
    """Return the Secret of revision -> record.

    Nothing in it is secret: it is one because whoever may write a namespace's Secrets decides what its pods do anyway.
    """
    values = {revision: json.dumps(_written(record), sort_keys=True) for revision, record in records.items()}
    return opaque_secret(pool, COMPONENT_AGENT, records_name(pool), values)


def _written(record: Record) -> dict[str, Any]:
    notes = {
        "proven": timestamp(record.proven) if record.proven else None,
        "failed": record.failed,
        "served": record.served or None,
    }
    known = {name: value for name, value in notes.items() if value is not None}
    return {"content": record.content, "created": timestamp(record.created), **known}


def read_records(secret: Manifest) -> dict[str, Record]:
    """Return revision -> record of a Secret; what cannot be read in it is left out."""
    found = {}
    for revision, encoded in (secret.get("data") or {}).items():
        if not re.fullmatch(f"[0-9a-f]{{{REVISION_LENGTH}}}", revision):
            continue
        try:
            values = read_json(base64.b64decode(encoded, validate=True))
        except (TypeError, ValueError):
            continue
        if not isinstance(values, dict) or (created := read_moment(values.get("created"))) is None:
            continue
        failed = values.get("failed")
        found[revision] = Record(
            content=str(values.get("content")),
            created=created,
            proven=read_moment(values.get("proven")),
            failed=str(failed) if failed is not None else None,
            served=bool(values.get("served")),
        )
    return found
