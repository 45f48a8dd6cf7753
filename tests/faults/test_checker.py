"""The checker rejects what is broken, by its name and no other, and accepts what is only odd.

`histories/broken.txt` and `legal.txt` hold the histories. `#` says what happened, `=` what the checker has to find, `?`
which rules were promised. Then one event a line: time, process, kind, task, fields. Two kinds stand for two events:
`sent` (invoke and ok) and `run` (start and end; a time without an end is a body that never came to its own).
"""

from __future__ import annotations

import itertools
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import Rules, check
from tests.faults.history import Event, History, Log, read
from tests.faults.report import quantile, report, upper_bound
from tests.faults.story import tell
from tests.faults.timing import recoveries

HERE = Path(__file__).parent


@dataclass(slots=True)
class Case:
    """A history of the text files."""

    title: str
    findings: set[str] = field(default_factory=set)
    rules: Rules = field(default_factory=Rules)
    lines: list[str] = field(default_factory=list)


def cases(name: str) -> list[Case]:
    """The histories of one file."""
    found: list[Case] = []
    for line in (HERE / "histories" / name).read_text().splitlines():
        mark, _, rest = line.partition(" ")
        if mark == "#":
            found.append(Case(rest))
        elif mark == "=":
            found[-1].findings = set(rest.split(", "))
        elif mark == "?":
            found[-1].rules = Rules(**{name: json.loads(value) for name, value in _pairs(rest.split())})
        elif line.strip():
            found[-1].lines.append(line)
    return found


def written(lines: list[str]) -> Log:
    """The history that lines of text stand for."""
    names: dict[str, int] = {}
    tokens = itertools.count(1)
    events: list[Event] = []
    for line in lines:
        when, process, kind, *rest = line.split()
        id = rest.pop(0) if rest and "=" not in rest[0] else ""
        data = {name: _value(name, value, names) for name, value in _pairs(rest)}
        begin, _, end = when.partition("-")
        boot = data.pop("boot", "b")
        pid = names.setdefault(process, 100 + len(names))

        def add(kind: str, at: str, data: dict[str, Any], *, id: str = id, pid: int = pid, boot: str = boot) -> None:
            events.append(Event(kind, id, float(at), pid, boot, data))

        if kind == "sent":
            add("enqueue", begin, {"outcome": "invoke", **data})
            add("enqueue", begin, {"outcome": "ok"})
        elif kind == "run":
            token = f"t{next(tokens)}"
            outcome: dict[str, Any] = {name: data.pop(name) for name in ("outcome", "value") if name in data}
            add("start", begin, {"token": token, **data})
            if end:
                add("end", end, {"token": token, **outcome})
        else:
            add(kind, begin, data)
    return Log(sorted(events, key=lambda event: event.at))


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]


def _value(name: str, value: str, names: dict[str, int]) -> Any:
    if name == "pids":
        return [names.setdefault(each, 100 + len(names)) for each in value.split(",")]
    if name in {"ids", "members"}:
        return value.split(",")
    try:
        return json.loads(value)
    except ValueError:
        return value


BROKEN = cases("broken.txt")
LEGAL = cases("legal.txt")


@pytest.mark.parametrize("case", BROKEN, ids=[case.title for case in BROKEN])
def test_a_broken_history_is_rejected_by_name(case: Case) -> None:
    assert {found.name for found in check(written(case.lines), case.rules)} == case.findings


@pytest.mark.parametrize("case", LEGAL, ids=[case.title for case in LEGAL])
def test_an_odd_but_legal_history_is_accepted(case: Case) -> None:
    assert [str(found) for found in check(written(case.lines), case.rules)] == []


def test_every_kind_of_finding_has_a_history_that_shows_it() -> None:
    names: set[str] = set()
    for path in HERE.glob("*.py"):
        if not path.name.startswith("test_"):
            names.update(re.findall(r'Finding\("([a-z-]+)"', path.read_text()))
    shown = {name for case in BROKEN for name in case.findings}
    assert names - shown == {"torn"}  # which takes a file, below
    assert len(names) >= 30


def test_a_kill_that_cuts_a_line_costs_that_line_only(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    history.write("enqueue", "a", outcome="invoke")
    history.write("enqueue", "a", outcome="ok")
    with history.path.open("ab") as file:
        file.write(b'\n{"at":1.0,"pid":7,"boot":"b","event":"sta')
    history.write("start", "a", token="1")
    history.write("end", "a", token="1")
    log = read(history.path)
    assert log.torn == 1
    assert [event.kind for event in log.events] == ["enqueue", "enqueue", "start", "end"]
    assert [finding.name for finding in check(log)] == ["torn"]
    history.write("fault", "f", kind="kill", phase="point", pids=[7])
    assert check(read(history.path)) == []


def test_processes_that_share_a_file_do_not_mix_their_lines(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            for index in range(300):
                history.write("start", f"{child}-{index}", token="x" * 200)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    log = read(history.path)
    assert log.torn == 0
    assert len({event.id for event in log.events}) == 1200
    assert {event.pid for event in log.events} == set(children)


def test_recovery_is_counted_from_the_kill_to_the_next_start() -> None:
    text = """0 c sent a
              1 w run a
              2 h fault f kind=kill target=child phase=begin pids=w
              2.2 h fault f phase=end
              2.5-3 v run a"""
    log = written(text.splitlines())
    assert [(id, fault.id, round(seconds, 3)) for id, fault, seconds, _ in recoveries(tell(log))] == [("a", "f", 0.5)]
    figures = report(log, check(log))
    assert (figures.lost, figures.kills, figures.interrupted, figures.repeated, figures.duplicates) == (0, 1, 1, 1, 0)
    assert figures.recovery["child"]["max"] == pytest.approx(0.5)


def test_the_bound_of_a_rate_is_about_three_by_the_trials_when_nothing_was_seen() -> None:
    assert upper_bound(0, 1000) == pytest.approx(2.9957 / 1000, rel=1e-3)
    assert upper_bound(1, 1) == pytest.approx(4.7439, rel=1e-3)
    assert upper_bound(10, 100) == pytest.approx(0.16962, rel=1e-3)


def test_a_quantile_is_a_value_that_was_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.99)) == (50.0, 99.0, 7.0)
