"""A history in figures."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tests.faults.story import Story, tell
from tests.faults.timing import recoveries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.history import Log
    from tests.faults.story import Finding


@dataclass(frozen=True, slots=True)
class Report:
    """What a run with kills comes to."""

    sent: int
    completed: int
    kills: int
    """Kills, of whatever and however many processes each."""
    interrupted: int
    """Executions that a kill cut short."""
    lost: int
    repeated: int
    """Executions beyond the first of their task."""
    duplicates: int
    """Completed executions beyond the first completed one of their task."""
    recovery: dict[str, dict[str, float]]
    """Seconds from kill to next start, by kind of kill: count, p50, p99, max; `KIND+` where more kills came between."""
    loss_bound: float
    """Losses per kill, upper bound at 95 %."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def report(log: Log, findings: Sequence[Finding]) -> Report:
    """Figures of a history; what is lost is taken from the checker's findings."""
    story = tell(log)
    kills = [fault for fault in story.faults.values() if fault.kind == "kill"]
    lost = sum(finding.name in {"lost", "chain-stuck", "chord-stuck"} for finding in findings)
    return Report(
        sent=sum(sent.outcome == "ok" for sent in story.sent.values()),
        completed=sum(story.completed(id) is not None for id in story.sent),
        kills=len(kills),
        interrupted=sum(each.killer is not None for each in story.all_executions()),
        lost=lost,
        repeated=sum(len(runs) - 1 for runs in story.executions.values()),
        duplicates=sum(max(0, len(story.succeeded(id)) - 1) for id in story.executions),
        recovery=_recovery(story),
        loss_bound=upper_bound(lost, len(kills)),
    )


def _recovery(story: Story) -> dict[str, dict[str, float]]:
    by_kind: dict[str, list[float]] = {}
    for _, fault, seconds, undisturbed in recoveries(story):
        kind = fault.data.get("target", "kill")
        by_kind.setdefault(kind if seconds == undisturbed else f"{kind}+", []).append(seconds)
    return {
        kind: {
            "count": len(times),
            "p50": statistics.median(times),
            "p99": quantile(times, 0.99),
            "max": max(times),
        }
        for kind, times in sorted(by_kind.items())
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def upper_bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """The largest rate per trial under which so few events would still have been seen at this confidence (Poisson)."""
    if trials == 0:
        return math.nan
    low, high = 0.0, 10.0 * (events + 1) + 10.0
    for _ in range(200):
        mean = (low + high) / 2
        term, total = math.exp(-mean), 0.0
        for count in range(events + 1):
            total += term
            term *= mean / (count + 1)
        if total > 1 - confidence:
            low = mean
        else:
            high = mean
    return high / trials
