"""The report on a terminal: a progress bar, a table with a chart in it, and what a killed process did not change."""

from __future__ import annotations

import sys
from typing import Any, TextIO

BAR = 24
"""Characters of the longest bar."""
SOME = 8
"""The most files that are named where there may be many."""


def blocks(stream: TextIO) -> tuple[str, str]:
    """A full and an empty cell of a bar, in what the stream can write."""
    try:
        "█░·".encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return "#", "."
    return "█", "░"


def bar(share: float, width: int, cells: tuple[str, str]) -> str:
    """A bar that is full at 1."""
    full = round(max(0.0, min(1.0, share)) * width)
    return cells[0] * full + cells[1] * (width - full)


class Progress:
    """One line that is drawn again and again; where nobody sees it redrawn, a line at each quarter."""

    def __init__(self, total: int, stream: TextIO = sys.stderr) -> None:
        self.total = total
        self.stream = stream
        self.live = stream.isatty()
        self.quarters = 0

    def draw(self, done: int, seconds: float) -> None:
        """Show how many are done after so many seconds."""
        rate = done / seconds if seconds > 0 else 0.0
        left = f"{(self.total - done) / rate:4.0f} s left" if rate else ""
        line = f"{done:,} of {self.total:,} files, {rate:,.0f} a second"
        if self.live:
            drawn = bar(done / self.total, BAR, blocks(self.stream))
            self.stream.write(f"\r\x1b[K  {drawn} {done / self.total:4.0%}  {line} {left}")
            self.stream.flush()
        elif done * 4 // self.total > self.quarters:
            self.quarters = done * 4 // self.total
            self.say(line)

    def end(self, seconds: float) -> None:
        """Show that all are done."""
        self.draw(self.total, seconds)
        if self.live:
            self.stream.write("\n")

    def say(self, text: str) -> None:
        """Write a line of its own."""
        self.stream.write(("\r\x1b[K" if self.live else "") + text + "\n")
        self.stream.flush()


def report(found: dict[str, Any], out: TextIO) -> None:
    """Print the report: totals, the packages, the functions with the most branches, what did not parse."""
    cells = blocks(out)
    definitions = found["functions"] + found["classes"]
    totals = [
        f"{found['files']:,} files",
        f"{found['lines']:,} lines",
        f"{found['functions']:,} functions",
        f"{found['classes']:,} classes",
        f"{share(found['documented'], definitions)} of them with a docstring",
    ]
    print(f"\n{found['base']}\n{', '.join(totals)}\n", file=out)
    packages(found["packages"], cells, out)
    print("\nThe most branches in one function", file=out)
    most = max((function["branches"] for function in found["branchiest"]), default=0)
    for function in found["branchiest"]:
        where = f"{function['path']}:{function['line']} {function['name']}"
        drawn = bar(function["branches"] / most, BAR, (cells[0], " "))
        print(f"  {function['branches']:5}  {drawn}  {where}", file=out)
    unreadable = found["unreadable"]
    if unreadable:
        print(f"\n{len(unreadable)} files do not parse, and say why, for example", file=out)
        for file in unreadable[:3]:
            print(f"  {file['path']}: {file['error'].splitlines()[0][:90]}", file=out)


def packages(rows: list[dict[str, Any]], cells: tuple[str, str], out: TextIO, top: int = 12) -> None:
    """Print the largest packages as a table, with a bar for the share of lines and for documentation."""
    print(f"  {'package':<18}{'files':>6}{'lines':>10}  {'':{BAR}}  {'definitions':>11}  with a docstring", file=out)
    largest = max((row["lines"] for row in rows), default=0)
    for row in rows[:top]:
        definitions = row["functions"] + row["classes"]
        drawn = bar(row["lines"] / largest if largest else 0, BAR, (cells[0], " "))
        words = bar(row["documented"] / definitions if definitions else 0, 10, cells)
        print(
            f"  {row['name'][:17]:<18}{row['files']:>6,}{row['lines']:>10,}  {drawn}  {definitions:>11,}"
            f"  {words} {share(row['documented'], definitions):>5}",
            file=out,
        )
    if len(rows) > top:
        others = rows[top:]
        files, lines = sum(row["files"] for row in others), sum(row["lines"] for row in others)
        print(f"  {f'{len(others)} others':<18}{files:>6,}{lines:>10,}", file=out)


def share(part: int, whole: int) -> str:
    """A part of the whole in per cent."""
    return f"{part / whole:.0%}" if whole else "-"


def conclusion(run: dict[str, Any], out: TextIO) -> None:
    """Print how fast it went, and after a kill what became of the file that was being read."""
    print(
        f"\n{run['tasks']:,} tasks in {run['seconds']:.1f} s, {run['tasks_a_second']:,.0f} a second; "
        f"all were sent in {run['seconds_to_send']:.2f} s.",
        file=out,
    )
    if run["killed"]:
        again = run["started_again"]
        print(
            f"Process {run['killed']} was killed while it was reading {run['was_reading']}.\n"
            f"Of its work, the results of the last {run['redone_seconds'] * 1000:.0f} ms were not stored yet; "
            f"another process did {'it' if len(again) == 1 else f'these {len(again)} files'} again:",
            file=out,
        )
        for path in again[:SOME]:
            print(f"  {path}", file=out)
        if len(again) > SOME:
            print(f"  and {len(again) - SOME} more", file=out)
    if run["missing"] or run["more_than_once"]:
        print(f"WRONG: missing {run['missing']}, more than once {run['more_than_once']}", file=out)
    else:
        print(f"Nothing is missing: each of the {run['tasks'] - 1:,} files is in the report exactly once.", file=out)
