"""The operator writes what agents read, and reads what they say: neither may refuse the other anything."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from livekit_operator.api.agent import (
    AgentSpec,
    LanguageModel,
    SpeechToText,
    TextToSpeech,
    TurnHandling,
    VoiceActivityDetection,
)
from livekit_operator.api.base import ApiModel
from livekit_operator.api.voiceagentpool import VoiceAgentPoolSpec
from livekit_operator.clients.worker import parse_status
from livekit_operator.constants import BASE_URL_PATTERN
from livekit_operator.outside import MOST_COUNT
from livekit_operator.pools.manifests import versions
from tests.unit.operator import models
from voice_agent import config
from voice_agent.provider_errors import ROLES, ProviderError
from voice_agent.runner import settings
from voice_agent.runner.capacity import CapacityGuard
from voice_agent.runner.status import WorkerStatus

SECONDS = st.integers(*(int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2000, 2199)))
MOMENTS = SECONDS.map(lambda seconds: f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}")
# Characters that an API server stores; a surrogate is none.
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=50)
OWN_IMAGE = {"image": "mine:1", "command": ["python", "agent.py"]}


def urls() -> st.SearchStrategy[str]:
    """Return all URLs that the door lets in, but for addresses of IPv6 that are none."""
    named = st.from_regex(BASE_URL_PATTERN).filter(lambda url: "://[" not in url and not url.endswith("\n"))
    return named | st.ip_addresses(v=6).map(lambda address: f"wss://[{address}]:8443/v1")


def integers(field: FieldInfo) -> st.SearchStrategy[int]:
    """Return the numbers that a field takes."""
    bounds = {key: getattr(one, key) for one in field.metadata for key in ("ge", "le") if hasattr(one, key)}
    return st.integers(bounds["ge"], bounds["le"])


def sections(of: type[ApiModel], **known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return what a part of an agent may be: some of its fields, with any value that its model takes."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in of.model_fields.items():
        if name in known:
            fields[str(field.alias)] = known[name]
        elif field.annotation in (int, int | None):
            fields[str(field.alias)] = integers(field)
        elif field.annotation is bool:
            fields[str(field.alias)] = st.booleans()
        else:
            choices = field.annotation.__args__ if field.annotation is not None else ()
            fields[str(field.alias)] = st.sampled_from(choices)
    return st.fixed_dictionaries({}, optional=fields)


def providers(of: type[ApiModel], **known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return what a provider may be."""
    key = {"apiKeySecretRef": {"name": "providers", "key": "it"}}
    strange = {"api_key_secret_ref": st.just(key["apiKeySecretRef"]), "base_url": urls(), "model": TEXT}
    return sections(of, **strange, **known).map(lambda section: {**section, **key})


def in_order(turns: dict[str, Any]) -> bool:
    """Return whether the delays are in the order that the door asks for."""
    whole = TurnHandling.model_validate(turns)
    return whole.min_endpointing_delay_ms <= whole.max_endpointing_delay_ms


THRESHOLDS = st.floats(0, 1, exclude_min=True, exclude_max=True)
AGENTS = st.fixed_dictionaries(
    {
        "instructions": TEXT,
        "stt": providers(SpeechToText, language=st.from_regex(r"\A[a-z]{2}(-[A-Z]{2})?\Z")),
        "llm": providers(LanguageModel, temperature=st.floats(0, 2)),
        "tts": providers(TextToSpeech),
    },
    optional={
        "greeting": TEXT,
        "vad": sections(VoiceActivityDetection, activation_threshold=THRESHOLDS),
        "turnHandling": sections(TurnHandling).filter(in_order),
        "audioOnly": st.booleans(),
    },
)
_SPEC = VoiceAgentPoolSpec.model_fields
_ALWAYS = ("sessions_per_pod", "idle_processes", "drain_timeout_seconds")
WORKERS = st.fixed_dictionaries(
    {str(_SPEC[name].alias): integers(_SPEC[name]) for name in _ALWAYS},
    # Not those that the runner's own endpoints have.
    optional={"metricsPort": st.integers(1024, 65535).filter(lambda port: port not in (8081, 8082))},
)


def written(agent: dict[str, Any], worker: dict[str, Any], defaults: dict[str, str]) -> str:
    """Return the file that agents find."""
    pool = models.pool(agent=agent, **worker)
    template = versions.build_template(pool, "agent:1", defaults)
    data: dict[str, str] = versions.build_version_map(pool, template)["data"]
    return data[versions.CONFIG_FILE]


@given(agent=AGENTS, worker=WORKERS, default=urls())
def test_the_stock_agent_does_what_the_spec_says(agent: dict[str, Any], worker: dict[str, Any], default: str) -> None:
    read = config.parse(written(agent, worker, {"deepgram": default}))
    spec = AgentSpec.model_validate(agent)
    for role in ROLES:
        part, asked = getattr(read, role), getattr(spec, role)
        fallback = default if asked.provider == "deepgram" else None
        assert part.base_url == ((asked.base_url or fallback or "").rstrip("/") or None)
        told = asked.model_dump(exclude={"api_key_secret_ref", "base_url"})
        assert part.model_dump(include=set(told)) == told
    assert read.turn_handling.model_dump() == (spec.turn_handling or TurnHandling()).model_dump()
    assert read.vad.model_dump() == (spec.vad or VoiceActivityDetection()).model_dump()
    assert (read.instructions, read.greeting) == (spec.instructions, spec.greeting)
    assert read.audio_only is (spec.audio_only is not False)
    assert (read.sessions_per_pod, read.idle_processes) == (worker["sessionsPerPod"], worker["idleProcesses"])
    assert read.drain_timeout_seconds == max(1, worker["drainTimeoutSeconds"])
    assert read.metrics_port == worker.get("metricsPort")


@given(worker=WORKERS)
def test_the_runner_of_an_own_image_does_what_the_spec_says(worker: dict[str, Any]) -> None:
    read = dataclasses.asdict(settings.parse(written(OWN_IMAGE, worker, {})))
    assert read == {
        "agent_name": "front-desk",
        "sessions_per_pod": worker["sessionsPerPod"],
        "idle_processes": worker["idleProcesses"],
        "drain_timeout_seconds": max(1, worker["drainTimeoutSeconds"]),
        "metrics_port": worker.get("metricsPort"),
    }


ACTIVITIES = st.fixed_dictionaries({"state": st.none() | TEXT, "lastActivityAt": st.none() | MOMENTS})
JOBS = st.dictionaries(TEXT, st.tuples(TEXT, TEXT, ACTIVITIES), max_size=5)
ERRORS = st.lists(st.builds(ProviderError.now, st.sampled_from(ROLES), TEXT, st.integers(0, 599)), max_size=3)


@given(
    jobs=JOBS,
    errors=ERRORS,
    flags=st.tuples(*[st.booleans()] * 3),
    counts=st.tuples(*[st.integers(0, MOST_COUNT)] * 3),
    capacity=st.integers(1, 1000),
    names=st.tuples(TEXT, st.just("") | TEXT),
    not_applied=st.dictionaries(TEXT, TEXT, max_size=3),
)
def test_the_operator_reads_whatever_a_runner_says(
    jobs: dict[str, Any],
    errors: list[ProviderError],
    flags: tuple[bool, bool, bool],
    counts: tuple[int, int, int],
    capacity: int,
    names: tuple[str, str],
    not_applied: dict[str, str],
) -> None:
    registered, draining, stopping = flags
    started, failed, warm = counts
    running = [
        SimpleNamespace(id=job, dispatch_id=dispatch, room=SimpleNamespace(name=room))
        for job, (dispatch, room, _) in jobs.items()
    ]
    worker: Any = SimpleNamespace(
        warmed_up=True,
        registered=registered,
        draining=draining,
        worker_id="AW_1",
        agent_name=names[0],
        deployment=names[1],
        warm_processes=warm,
        guard=CapacityGuard(capacity, lambda: running),
        sessions=SimpleNamespace(started=started, failed=failed, activity=lambda job: jobs[job][2]),
        applied=[],
        not_applied=not_applied,
    )
    status = WorkerStatus(worker, lambda: [dataclasses.asdict(error) for error in errors], stopping=stopping)
    read = parse_status(json.loads(json.dumps(status.document())))
    assert (read.registered, read.draining) == (registered, draining or stopping)
    assert (read.sessions, read.capacity) == (len(jobs), capacity)
    assert (read.started, read.failed) == (started, failed)
    assert read.jobs is not None
    assert [(job.id, job.room) for job in read.jobs] == [(job, room) for job, (_, room, _) in jobs.items()]
    assert [job.last_active for job in read.jobs] == [
        datetime.fromisoformat(at) if (at := activity["lastActivityAt"]) else None for _, _, activity in jobs.values()
    ]
    now = datetime.now(UTC)
    assert all(job.started is not None and now - job.started < timedelta(minutes=1) for job in read.jobs)
    assert [(error.role, error.code) for error in read.provider_errors] == [(e.role, e.code) for e in errors]
    assert len(read.not_applied) == len(not_applied)
