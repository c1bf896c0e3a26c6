"""What a soak came to, for a person: faults, calls and invariants."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.soak.calling import Record
from tests.soak.memory import Growth
from tests.soak.plan import CHARACTERS, Fault, Plan

_MOST_SHOWN = 5


@dataclass(frozen=True)
class Happened:
    """A fault that happened, and after how many seconds all was well, None where it never was."""

    fault: Fault
    whom: str
    healed: float | None

    def __str__(self) -> str:
        """Return it on one line."""
        lasted = f" for {self.fault.lasts:.0f} s" if self.fault.lasts else ""
        healing = "NOT HEALED" if self.healed is None else f"healed after {self.healed:.1f} s"
        whom = f" ({self.whom})" if self.whom else ""
        return f"fault {self.fault.number}: {self.fault.kind}{whom}{lasted}; {healing}"


@dataclass(frozen=True)
class Outcome:
    """What a soak came to."""

    plan: Plan
    happened: Sequence[Happened] = ()
    records: Sequence[Record] = ()
    growth: Growth | None = None
    judged: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """What does not hold, a sentence each."""
        return [problem for problems in self.judged.values() for problem in problems]

    @property
    def command(self) -> str:
        """The command that repeats it."""
        sizes = self.plan.sizes
        words = [f"SEED={self.plan.seed}", f"MINUTES={sizes.minutes:g}", f"ROOMS={sizes.rooms}", f"CALLS={sizes.calls}"]
        words.append(f"KILLS={sizes.kills}")
        if set(sizes.kinds) != set(CHARACTERS):
            words.append(f"FAULTS='{','.join(sizes.kinds)}'")
        return f"make soak {' '.join(words)}"


def report(outcome: Outcome) -> str:
    """Return the tables, and the command that repeats it where something does not hold."""
    parts = [_faults(outcome), _calls(outcome), _invariants(outcome)]
    if outcome.problems:
        parts.append(f"again: {outcome.command}")
    return "\n\n".join(parts)


def _faults(outcome: Outcome) -> str:
    lines = [f"{'fault':<22} {'times':>6} {'slowest healing':>16} {'bound':>7}"]
    for kind in outcome.plan.sizes.kinds:
        happened = [one for one in outcome.happened if one.fault.kind is kind]
        healed = [one.healed for one in happened if one.healed is not None]
        slowest = f"{max(healed):.1f} s" if healed else "-"
        if len(healed) < len(happened):
            slowest = "NEVER"
        lines.append(f"{kind:<22} {len(happened):>6} {slowest:>16} {CHARACTERS[kind].heals_within:>5.0f} s")
    lines.append(f"{len(outcome.happened)} of {len(outcome.plan.faults)} planned faults happened")
    return "\n".join(lines)


def _calls(outcome: Outcome) -> str:
    records = outcome.records
    cut = [record for record in records if record.cut]
    causes = Counter(record.cause or "NO CAUSE" for record in cut)
    why = ", ".join(f"{cause} {times}" for cause, times in sorted(causes.items()))
    lines = [f"calls: {len(records)} made, {len(cut)} cut{f' ({why})' if why else ''}"]
    waits = sorted(record.waited for record in records if not record.failed)
    if waits:
        lines.append(f"seconds until an agent was there: median {waits[len(waits) // 2]:.1f}, longest {waits[-1]:.1f}")
    if outcome.growth:
        lines.append(f"operator's memory: {outcome.growth}")
    return "\n".join(lines)


def _invariants(outcome: Outcome) -> str:
    lines = ["invariants"]
    for name, problems in outcome.judged.items():
        lines.append(f"  {'holds' if not problems else 'BROKEN':<7} {name}")
        lines += [f"            {problem}" for problem in problems[:_MOST_SHOWN]]
        if len(problems) > _MOST_SHOWN:
            lines.append(f"            and {len(problems) - _MOST_SHOWN} more")
    return "\n".join(lines)
