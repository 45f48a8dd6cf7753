"""Medians, ratios, tables, and what the machine was like."""

from __future__ import annotations

import json
import math
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Iterable[float]) -> float:
    """The middle value; NaN of none."""
    values = list(values)
    return statistics.median(values) if values else math.nan


def interleaved(names: Sequence[str], repeat: int, run: Callable[[str], T]) -> dict[str, list[T]]:
    """Run each in turn, A B A B: a slow minute of the machine then meets all of them."""
    runs: dict[str, list[T]] = {name: [] for name in names}
    for _ in range(repeat):
        for name in names:
            runs[name].append(run(name))
    return runs


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns of text; the first is flush left, the others right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for first, *rest in cells:
        right = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *right]).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def times(ratio: float) -> str:
    """A ratio for people: ``12.3 x``."""
    return "-" if math.isnan(ratio) else f"{ratio:.1f} x" if ratio < 100 else f"{ratio:.0f} x"


def number(value: float) -> str:
    """A figure for people, three digits of it."""
    if math.isnan(value):
        return "-"
    if value >= 1000:
        return f"{round(value, 2 - int(math.log10(value))):,.0f}"
    return f"{value:.3g}"


def machine(folder: Path) -> dict[str, Any]:
    """What the figures of a run depend on beside the code."""
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "fdatasync_ms": round(1000 * _sync_time(folder), 3),
    }


def _sync_time(folder: Path) -> float:
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(50):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - start)
    return median(taken)


def describe(facts: dict[str, Any]) -> str:
    """The machine in one line."""
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def save(path: str | None, report: dict[str, Any]) -> None:
    """Write the report as JSON where `--json` said; `-` is standard output."""
    if path is None:
        return
    text = json.dumps(report, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        Path(path).write_text(text)


def judge(goals: dict[str, tuple[str, bool]]) -> int:
    """Print each goal with what was measured; the exit status, 1 when one is missed."""
    for goal, (measured, met) in goals.items():
        print(f"{'met   ' if met else 'MISSED'}  {goal}: {measured}")
    return 0 if all(met for _, met in goals.values()) else 1
