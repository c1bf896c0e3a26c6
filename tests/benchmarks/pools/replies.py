"""Replies side by side: from the caller's last sound to the agent's first, by what ends the caller's turn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.pools.setting import set_up, warm_pods
from tests.benchmarks.pools.told import tell
from tests.benchmarks.table import Figure
from tests.caller.call import Call
from tests.caller.microphone import RATE
from tests.harness.kubectl import Kubectl
from tests.harness.processes import pss_mib
from tests.providers.recorded import QUESTION, recorded

FAST_MS = 600.0
_PROCESSES = 3
_SEMANTIC = {"turnHandling": {"detection": "semantic"}}
# A realtime model is instead of all these.
_INSTEAD = ("stt", "llm", "tts")


@dataclass(frozen=True)
class Mode:
    """One of the agents that are compared: its name, and what its spec says beyond the quickstart's."""

    key: str
    label: str
    said: Mapping[str, Any]
    target: float | None = None

    def agent(self, quickstart: Mapping[str, Any]) -> dict[str, Any]:
        """Return `spec.agent`, made of the quickstart's."""
        if "realtime" not in self.said:
            return {**quickstart, **self.said}
        kept = {name: value for name, value in quickstart.items() if name not in _INSTEAD}
        key = quickstart["llm"]["apiKeySecretRef"]
        return {**kept, "realtime": {**self.said["realtime"], "apiKeySecretRef": key}}


MODES = (
    Mode("fast", "Fast", {"preset": "Fast"}, FAST_MS),
    Mode("balanced", "Balanced", {"preset": "Balanced"}),
    Mode("thorough", "Thorough", {"preset": "Thorough"}),
    Mode("semantic", "semantic", _SEMANTIC),
    Mode("fast_semantic", "Fast, semantic", {"preset": "Fast", **_SEMANTIC}, FAST_MS),
    Mode("realtime", "realtime model", {"realtime": {}}),
)


@dataclass
class ReplyFigures:
    """By the modes' keys: replies in milliseconds, and the memory of the pod at rest in MiB."""

    replies: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    def figures(self) -> list[Figure]:
        """Return what is printed; a mode that was not measured is a figure without values."""
        replies = [
            Figure(
                f"reply_{mode.key}_ms",
                f"{mode.label}: end of speech -> first sound of the reply",
                self.replies.get(mode.key, []),
                target=mode.target,
            )
            for mode in MODES
        ]
        memory = [
            Figure(
                f"memory_{mode.key}_mib",
                f"{mode.label}: agent pod, {_PROCESSES} idle processes (PSS)",
                [self.memory[mode.key]] if mode.key in self.memory else [],
                "MiB",
            )
            for mode in MODES
            if mode.key in ("balanced", "semantic")
        ]
        return [*replies, *memory]


async def measure_replies(
    kubectl: Kubectl, figures: ReplyFigures, mode: Mode, agent: Mapping[str, Any], times: int
) -> None:
    """Ask one agent the same question again and again in one call; `agent` is the quickstart's."""
    (secret,) = await set_up(kubectl, 1, agent=mode.agent(agent), idleProcesses=_PROCESSES)
    (pod,) = await warm_pods(kubectl, 1, _PROCESSES)
    figures.memory[mode.key] = pss_mib(pod)
    # espeak-ng's speech does not tell a model that the caller has finished.
    samples = recorded(QUESTION, RATE).samples
    replies = figures.replies.setdefault(mode.key, [])
    async with Call(secret) as call:
        await call.greeting()
        for number in range(times):
            turn = await call.ask(QUESTION, samples=samples)
            assert turn.reply_ms is not None
            replies.append(turn.reply_ms)
            tell(f"{mode.label}, question {number + 1} of {times}", reply=turn.reply_ms / 1000)
