"""The operator writes what agents read, and reads what they say: neither may refuse the other anything."""

import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta
from types import NoneType, SimpleNamespace
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from livekit_operator import constants
from livekit_operator.api import presets
from livekit_operator.api.agent import AgentSpec
from livekit_operator.api.base import ApiModel
from livekit_operator.api.conversation import TEMPLATE_PATTERN
from livekit_operator.api.providers import (
    LanguageModelProvider,
    SpeechToTextProvider,
    TextToSpeechProvider,
    key_variable,
    option_variable,
)
from livekit_operator.api.turns import TurnHandling, VoiceActivityDetection
from livekit_operator.api.voiceagentpool import VoiceAgentPoolSpec
from livekit_operator.clients.worker import parse_status
from livekit_operator.constants import BASE_URL_PATTERN
from livekit_operator.outside import MOST_COUNT, masked
from livekit_operator.pools.manifests import versions
from tests.fakes import models
from voice_agent import config
from voice_agent.config import ROLES
from voice_agent.logs import without_logins
from voice_agent.provider_errors import ProviderError, document
from voice_agent.runner import settings
from voice_agent.runner.capacity import CapacityGuard
from voice_agent.runner.sessions import Sessions
from voice_agent.runner.status import WorkerStatus
from voice_agent.templates import problem_of

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
        elif field.annotation in (bool, bool | None):
            fields[str(field.alias)] = st.booleans()
        else:
            fields[str(field.alias)] = choices(field.annotation)
    return st.fixed_dictionaries({}, optional=fields)


def choices(literal: Any) -> st.SearchStrategy[Any]:
    """Return the values that a field takes, which may be left out."""
    parts = [value for part in get_args(literal) for value in (get_args(part) or (part,))]
    return st.sampled_from([value for value in parts if value is not NoneType])


def providers(of: type[ApiModel], **known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return what the providers of a role may be."""
    key = {"apiKeySecretRef": {"name": "providers", "key": "it"}}
    strange: dict[str, st.SearchStrategy[Any]] = {
        "api_key_secret_ref": st.just(key["apiKeySecretRef"]),
        "base_url": urls(),
        "model": TEXT,
        "plugin": st.none(),
    }
    one = sections(of, **strange, **known).map(lambda section: {**section, **key})
    one = one.map(lambda found: plugged(found) if found.get("provider") == "plugin" else found)
    fallbacks = st.none() | st.lists(one, min_size=1, max_size=3)
    return st.tuples(one, fallbacks).map(lambda found: {**found[0], "fallbacks": found[1]})


def in_order(turns: dict[str, Any]) -> bool:
    """Return whether the delays are in the order that the door asks for."""
    shortest, longest = turns.get("minEndpointingDelayMs"), turns.get("maxEndpointingDelayMs")
    return shortest is None or longest is None or bool(shortest <= longest)


def plugged(provider: dict[str, Any]) -> dict[str, Any]:
    """Return a provider that is none, with something of its own."""
    plugin = {"package": "livekit.plugins.x", "class": "Y", "options": {"a": [1, {"b": None}]}}
    secret = {"name": "token", "secretKeyRef": {"name": "providers", "key": "it"}}
    wrong = ("model", "baseUrl", "voice", "fallbacks")
    rest = {name: value for name, value in provider.items() if name not in wrong}
    return {**rest, "provider": "plugin", "plugin": {**plugin, "secretOptions": [secret]}}


THRESHOLDS = st.floats(0, 1, exclude_min=True, exclude_max=True)
LIMITS = st.fixed_dictionaries(
    {"maxCallSeconds": st.integers(3601, 86400)},
    optional={
        "warnBeforeSeconds": st.integers(5, 3600),
        "maxSilenceSeconds": st.integers(5, 3600),
        **{f"{limit}Words": st.just("") | TEXT for limit in ("maxCall", "warn", "maxSilence")},
    },
)
PROMPTS = TEXT.filter(lambda text: "{{" not in text) | st.just("{{ room.name }}, {{ participant.name }}")
AGENTS = st.fixed_dictionaries(
    {
        "instructions": PROMPTS,
        "stt": providers(SpeechToTextProvider, language=st.from_regex(r"\A[a-z]{2}(-[A-Z]{2})?\Z")),
        "llm": providers(LanguageModelProvider, temperature=st.floats(0, 2)),
        "tts": providers(TextToSpeechProvider, voice=TEXT, response_format=st.sampled_from(["pcm", "wav", "mp3"])),
    },
    optional={
        "greeting": PROMPTS,
        "preset": st.sampled_from(list(presets.PRESETS)),
        "vad": sections(VoiceActivityDetection, activation_threshold=THRESHOLDS),
        "turnHandling": sections(TurnHandling).filter(in_order),
        "audioOnly": st.booleans(),
        "noiseSuppression": st.booleans(),
        "limits": LIMITS,
        "promptTemplates": st.booleans(),
        "neverSay": st.lists(st.just("darn") | st.just("Acme Corp"), min_size=1, max_size=64),
    },
)
_SPEC = VoiceAgentPoolSpec.model_fields
_ALWAYS = ("sessions_per_pod", "idle_processes", "drain_timeout_seconds")
WORKERS = st.fixed_dictionaries(
    {str(_SPEC[name].alias): integers(_SPEC[name]) for name in _ALWAYS},
    # Not those that the runner's own endpoints have.
    optional={
        "metricsPort": st.integers(1024, 65535).filter(lambda port: port not in (8081, 8082)),
        "initializeTimeoutSeconds": st.integers(1, 3600),
    },
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
    assert list(read.providers) == list(spec.providers)
    for place, part in read.providers.items():
        asked: Any = spec.providers[place]
        fallback = default if asked.provider == "deepgram" else None
        assert part.base_url == ((asked.base_url or fallback or "").rstrip("/") or None)
        told = asked.model_dump(exclude={"api_key_secret_ref", "base_url", "fallbacks", "plugin"}, exclude_none=True)
        if asked.plugin:
            assert part.plugin is not None
            assert json.loads(part.plugin.options) == asked.plugin.options
            assert (part.plugin.package, part.plugin.class_name) == (asked.plugin.package, asked.plugin.class_name)
            assert part.plugin.secret_options == tuple(option.name for option in asked.plugin.secret_options)
            assert config.option_variable(place, 0) == option_variable(place, 0)
        assert part.model_dump(include=set(told)) == told
        assert config.key_variable(place) == key_variable(place)
        assert list(config.secrets_of({key_variable(place): "x"})) == [key_variable(place)]
    assert read.turn_handling.model_dump() == {"preemptive_speech": False, **spec.turns.model_dump(exclude_none=True)}
    usual = presets.left_out("vad", {}, None, None)
    assert read.vad.model_dump() == (spec.vad or VoiceActivityDetection(**usual)).model_dump()
    assert (read.instructions, read.greeting) == (spec.instructions, spec.greeting)
    assert read.noise_suppression is (spec.noise_suppression is True)
    assert read.audio_only is (spec.audio_only is not False)
    assert read.prompt_templates is bool(spec.prompt_templates)
    assert read.never_say == tuple(spec.never_say or ())
    assert (read.limits and read.limits.model_dump()) == (spec.limits and spec.limits.model_dump())
    assert (read.sessions_per_pod, read.idle_processes) == (worker["sessionsPerPod"], worker["idleProcesses"])
    assert read.drain_timeout_seconds == max(1, worker["drainTimeoutSeconds"])
    assert read.metrics_port == worker.get("metricsPort")
    assert read.initialize_timeout_seconds == worker.get("initializeTimeoutSeconds", 20)


PARTS = (
    *("{", "{{", "{{{", "}}", "}", " ", "x", "\n", ".", "|", '"', "default(", ")", "\\"),
    *("room", ".name", ".metadata", "participant", ".identity", ".attributes", ".a-b_1"),
    *("{{ room.name }}", "{{participant.attributes.a.b}}", '{{ room.metadata.a.0 | default("a, b") }}'),
)


@given(text=st.lists(st.sampled_from(PARTS)).map("".join))
def test_the_door_and_the_agent_know_the_same_placeholders(text: str) -> None:
    assert bool(re.fullmatch(TEMPLATE_PATTERN, text)) is (problem_of(text) is None)


@given(text=st.lists(st.sampled_from(["://", "a", ":", "@", "/", " ", "80", "?", '"', "["])).map("".join))
def test_both_mask_the_same_of_urls(text: str) -> None:
    assert without_logins(text) == masked(text)


@given(worker=WORKERS)
def test_the_runner_of_an_own_image_does_what_the_spec_says(worker: dict[str, Any]) -> None:
    read = dataclasses.asdict(settings.parse(written(OWN_IMAGE, worker, {})))
    assert read == {
        "agent_name": "front-desk",
        "sessions_per_pod": worker["sessionsPerPod"],
        "idle_processes": worker["idleProcesses"],
        "drain_timeout_seconds": max(1, worker["drainTimeoutSeconds"]),
        "metrics_port": worker.get("metricsPort"),
        "initialize_timeout_seconds": worker.get("initializeTimeoutSeconds"),
    }


ACTIVITIES = st.fixed_dictionaries({"state": st.none() | TEXT, "lastActivityAt": st.none() | MOMENTS})
JOBS = st.dictionaries(TEXT, st.tuples(TEXT, TEXT, ACTIVITIES), max_size=5)
ERRORS = st.lists(st.builds(ProviderError.now, st.sampled_from(ROLES), TEXT, st.integers(0, 599)), max_size=3)


def closed(job: str, room: str, error: str | None) -> Any:
    """Return a process of livekit-agents after its end."""
    about = SimpleNamespace(id=job, dispatch_id="AD_1", room=SimpleNamespace(name=room))
    status = SimpleNamespace(name="SUCCESS" if error is None else "FAILED")
    return SimpleNamespace(running_job=SimpleNamespace(job=about), status=status, exitcode=len(error or ""))


def test_the_operator_knows_by_the_runners_last_words_that_it_lets_no_worker_run() -> None:
    assert constants.RUNNER_REFUSES == settings.REFUSES


@given(
    jobs=JOBS,
    errors=ERRORS,
    flags=st.tuples(*[st.booleans()] * 4),
    counts=st.tuples(*[st.integers(0, MOST_COUNT)] * 3),
    capacity=st.integers(1, 1000),
    names=st.tuples(TEXT, st.just("") | TEXT, st.just("") | TEXT),
    not_applied=st.dictionaries(TEXT, TEXT, max_size=3),
    ended=st.lists(st.tuples(TEXT, TEXT, st.none() | TEXT), max_size=5),
)
def test_the_operator_reads_whatever_a_runner_says(
    jobs: dict[str, Any],
    errors: list[ProviderError],
    flags: tuple[bool, bool, bool, bool],
    counts: tuple[int, int, int],
    capacity: int,
    names: tuple[str, str, str],
    not_applied: dict[str, str],
    ended: list[tuple[str, str, str | None]],
) -> None:
    registered, draining, stopping, publishers = flags
    started, failed, warm = counts
    name, deployment, cold = names
    running = [
        SimpleNamespace(id=job, dispatch_id=dispatch, room=SimpleNamespace(name=room))
        for job, (dispatch, room, _) in jobs.items()
    ]
    sessions = Sessions()
    for job, room, error in ended:
        sessions.on_launched(closed(job, room, error))
        sessions.on_closed(closed(job, room, error))
    sessions.started = started
    sessions.failed = failed
    setattr(sessions, "activity", lambda job: jobs[job][2])  # noqa: B010  a method of the runner's
    worker: Any = SimpleNamespace(
        warmed_up=not cold,
        warmups=SimpleNamespace(problem=cold),
        registered=registered,
        draining=draining,
        worker_id="AW_1",
        agent_name=name,
        deployment=deployment,
        job_type="PUBLISHER" if publishers else "ROOM",
        warm_processes=warm,
        guard=CapacityGuard(capacity, lambda: running),
        sessions=sessions,
        applied=[],
        not_applied=not_applied,
    )
    whole = config.parse('{"agentName": "a", "instructions": "b"}')
    status = WorkerStatus(worker, lambda: document(errors, whole), stopping=stopping)
    read = parse_status(json.loads(json.dumps(status.document())))
    assert (read.registered, read.draining, read.publishers) == (registered, draining or stopping, publishers)
    assert bool(read.not_ready) is bool(cold or draining or stopping or not registered)
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
    assert [(job.id, job.room, job.failed, job.cut, job.seconds) for job in read.ended] == [
        (job, room, error is not None, False, 0) for job, room, error in ended
    ]
