"""What the runner is told: part of the same file that the stock agent reads."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

logger = logging.getLogger(__name__)

DEFAULT_PATH = Path("/etc/voice-agent/config.json")
PATH_VARIABLE = "AGENT_CONFIG"
# Of the file as the pod's maker wrote it; without it any file will do.
DIGEST_VARIABLE = "AGENT_CONFIG_SHA256"
TERMINATION_LOG = Path("/dev/termination-log")
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
# The operator knows by these words that no worker runs in an image.
REFUSES = "The runner starts no worker: "


class SettingsError(Exception):
    """The settings cannot be used; the message says what to change."""


@dataclass(frozen=True)
class Settings:
    """How a worker is run; times are in seconds."""

    agent_name: str
    sessions_per_pod: int
    idle_processes: int
    drain_timeout_seconds: int
    metrics_port: int | None = None
    initialize_timeout_seconds: int | None = None


_NUMBERS = {
    # field of the file: attribute, least, greatest, may be left out
    "sessionsPerPod": ("sessions_per_pod", 1, None, False),
    "idleProcesses": ("idle_processes", 0, None, False),
    "drainTimeoutSeconds": ("drain_timeout_seconds", 1, None, False),
    "metricsPort": ("metrics_port", 1, 65535, True),
    "initializeTimeoutSeconds": ("initialize_timeout_seconds", 1, None, True),
}


def parse(text: str | bytes) -> Settings:
    """Return the settings in a JSON document; raises SettingsError naming every field that is wrong."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"invalid JSON: {error}") from None
    if not isinstance(document, dict):
        raise SettingsError("must be a JSON object")
    name = document.get("agentName")
    problems = [] if isinstance(name, str) and name else ["agentName: must be a text that is not empty"]
    values: dict[str, Any] = {"agent_name": name}
    for field, (attribute, least, greatest, optional) in _NUMBERS.items():
        value = document.get(field)
        if value is None and optional:
            continue
        if type(value) is not int or value < least or (greatest is not None and value > greatest):
            problems.append(f"{field}: must be an integer from {least}{f' to {greatest}' if greatest else ''}")
        values[attribute] = value
    problems += [f"{field}: unknown" for field in sorted(document.keys() - _NUMBERS.keys() - {"agentName"})]
    if problems:
        raise SettingsError("; ".join(problems))
    return Settings(**values)


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of this pod; raises SettingsError."""
    path = Path(environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    if (digest := environ.get(DIGEST_VARIABLE)) and sha256(text).hexdigest() != digest:
        raise SettingsError(f"{path} was changed since this pod was made: delete the ConfigMap that it comes from")
    try:
        return parse(text)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def refuse(why: str) -> NoReturn:
    """End the process that would run a worker, which must not run here, and say why."""
    words = REFUSES + why
    logger.critical(words)
    say_last_words(words)
    raise SystemExit(EXIT_CONFIG)


def say_last_words(message: str) -> None:
    """Leave the reason where Kubernetes shows it: the container's termination message."""
    if TERMINATION_LOG.exists():
        try:
            TERMINATION_LOG.write_text(message[:4000], encoding="utf-8")
        except OSError:
            logger.debug("no termination message written", exc_info=True)
