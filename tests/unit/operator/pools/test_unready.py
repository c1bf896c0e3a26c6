"""Why a pod that runs is not ready: in its runner's words, or that it does not answer yet."""

from datetime import timedelta
from typing import Any

import pytest

from livekit_operator.outside import MOST_TEXT
from livekit_operator.pools.manifests.pod import build_pod
from livekit_operator.pools.unready import why_unready
from livekit_operator.views import WorkerStatus
from tests.fakes import manifests, models
from tests.unit.operator.pools.standings import INPUTS, NOW, version

COLD = WorkerStatus(False, 0, not_ready=("idle processes are not warm yet", "not registered with the LiveKit server"))
COLD_WORDS = "is not ready: idle processes are not warm yet; not registered with the LiveKit server."
SILENT_WORDS = "does not answer on port 8082 yet and is started again after 300 s: see its log, or raise"


def pod(
    *, ran: float = 60, started: bool | None = False, ready: bool = False, spec: Any = None, **metadata: Any
) -> dict[str, Any]:
    """Return a pod whose agent has run for so many seconds."""
    pool = models.pool(agent=manifests.own_agent(), **(spec or {}))
    made = build_pod(pool, version(pool), "stable", INPUTS, "abcdef")
    made["metadata"] |= metadata
    running = {"running": {"startedAt": (NOW - timedelta(seconds=ran)).strftime("%Y-%m-%dT%H:%M:%SZ")}}
    statuses = [{"name": "mesh", "started": True}, {"name": "agent", "state": running, "started": started}]
    made["status"] = {"containerStatuses": statuses, "conditions": [{"type": "Ready", "status": str(ready)}]}
    return made


@pytest.mark.parametrize(
    ("about", "worker", "words"),
    [
        pytest.param({}, COLD, COLD_WORDS, id="its runner says why"),
        pytest.param({"started": True}, COLD, COLD_WORDS, id="started, and not warm"),
        pytest.param({}, None, SILENT_WORDS, id="it says nothing yet"),
        pytest.param(
            {"spec": {"startupTimeoutSeconds": 450}}, None, "again after 450 s: see its log, or raise", id="more time"
        ),
        pytest.param({"started": True}, None, None, id="it has answered before"),
        pytest.param({"started": None}, None, None, id="the kubelet has not looked yet"),
        pytest.param({"ready": True}, COLD, None, id="ready"),
        pytest.param({"ran": 9}, COLD, None, id="just started"),
        pytest.param({"ran": -60}, COLD, None, id="started in the future"),
        pytest.param({"deletionTimestamp": "2026-01-01T00:00:00Z"}, COLD, None, id="leaving"),
        pytest.param({"started": True}, WorkerStatus(None, 0), None, id="a worker without the runner"),
    ],
)
def test_what_is_said(about: dict[str, Any], worker: WorkerStatus | None, words: str | None) -> None:
    found = why_unready(pod(**about), worker, NOW)
    if words is None:
        assert found is None
    else:
        assert found is not None
        assert found.startswith("Pod front-desk-new-abcdef ")
        assert words in found


def test_a_pod_without_any_status_says_nothing() -> None:
    bare = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "agent"}]}}
    assert why_unready(bare, COLD, NOW) is None
    waiting = {**bare, "status": {"containerStatuses": [{"name": "agent", "state": {"waiting": {}}}]}}
    assert why_unready(waiting, COLD, NOW) is None


def test_many_words_are_cut() -> None:
    found = why_unready(pod(), WorkerStatus(False, 0, not_ready=("x" * MOST_TEXT,) * 8), NOW)
    assert found is not None
    assert len(found) < MOST_TEXT + 60
