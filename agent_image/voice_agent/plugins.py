"""Plugins of livekit-agents that a pool names: classes of packages that are in the image.

They are made in the job processes. `python -m voice_agent.plugins`, which the worker runs once before it begins, makes
each to see whether it can be: in a process of its own, because the worker itself needs none of them.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
from typing import Any

from .config import CLASSES, AgentConfig, ConfigError, PluginConfig, key_variable, load, option_variable, secrets_of
from .logs import Redactor
from .provider_errors import role_of

logger = logging.getLogger(__name__)

PAGE = "docs/pools.md, Any plugin"
TIMEOUT = 20.0  # seconds; what takes longer is left to the job processes
MOST_LETTERS = 16384  # of what is logged of it


def make(plugin: PluginConfig, place: str, kind: Any) -> Any:
    """The plugin at a place, made with its options and secrets: an object of a kind, which is a class of the library's.

    Raises ConfigError naming the field: the package is not in the image, has no such class, or takes no such options.
    """
    field = f"{place}.plugin"
    try:
        package = importlib.import_module(plugin.package)
    except ImportError as error:
        raise ConfigError(f"{field}.package: {plugin.package} is not in this image ({error}): see {PAGE}") from error
    name = plugin.class_name or CLASSES[role_of(place)]
    made_of = getattr(package, name, None)
    if not (isinstance(made_of, type) and issubclass(made_of, kind)):
        raise ConfigError(f"{field}.class: {plugin.package} has no {name} that is a {kind.__module__}.{kind.__name__}")
    secrets = _secrets(plugin, place)
    try:
        return made_of(**{**json.loads(plugin.options), **secrets})
    except Exception as error:  # noqa: BLE001  whatever code that nobody here knows raises
        # the words are the plugin's own and may repeat what it was given
        why = Redactor(secrets.values()).text(f"{type(error).__name__}: {error}")
        raise ConfigError(f"{field}.options: {name} does not take them ({why})") from None


def _secrets(plugin: PluginConfig, place: str) -> dict[str, str]:
    named = {name: option_variable(place, index) for index, name in enumerate(plugin.secret_options)}
    variables = {"api_key": key_variable(place), **named}
    return {name: os.environ[variable] for name, variable in variables.items() if variable in os.environ}


def check(config: AgentConfig) -> None:
    """See in another process whether every plugin can be made; raises ConfigError when one cannot."""
    if not any(provider.plugin for provider in config.providers.values()):
        return
    code, words = run([sys.executable, "-m", __name__])
    if code:
        raise ConfigError(words[-1] if words else f"a plugin ends its process ({code}): see the log")


def run(command: list[str]) -> tuple[int | None, list[str]]:
    """The exit code of a process that tries plugins, None when it takes too long, and the lines of its output.

    They hold no secret of this process, and neither does the log, to which its standard error goes.
    """
    code: int | None = None  # it takes too long
    output: bytes | None
    errors: bytes | None
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
        code, output, errors = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        output, errors = late.stdout, late.stderr
    redactor = Redactor(os.environ[name] for name in secrets_of(os.environ))
    said, told = (redactor.text((text or b"").decode(errors="replace").strip()) for text in (output, errors))
    if told:
        logger.warning("written while plugins were tried: %s", told[-MOST_LETTERS:])
    return code, said.splitlines()


def main() -> int:
    """Make every plugin; say on the standard output which cannot be."""
    from . import providers

    try:
        providers.build(load())
    except ConfigError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
