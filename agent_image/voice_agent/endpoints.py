"""Where each provider answers, given the base URL a pool names or none."""

from __future__ import annotations

DEEPGRAM_BASE_URL = "https://api.deepgram.com/v1"
OPENAI_BASE_URL = "https://api.openai.com/v1"


def deepgram_url(base_url: str | None, endpoint: str) -> str:
    """The address of one Deepgram endpoint; the plugins want it whole, an author gives the root ending in /v1."""
    root = (base_url or DEEPGRAM_BASE_URL).rstrip("/")
    return f"{root}/{endpoint}"


def openai_url(base_url: str | None) -> str:
    """The root of an OpenAI-compatible API; its client speaks HTTP only, so ws schemes become http ones."""
    root = (base_url or OPENAI_BASE_URL).rstrip("/")
    return f"http{root.removeprefix('ws')}" if root.startswith("ws") else root


def realtime_url(base_url: str | None) -> str:
    """The address of an OpenAI-compatible realtime API; the plugin puts the path behind some roots and not others."""
    return f"{openai_url(base_url)}/realtime"
