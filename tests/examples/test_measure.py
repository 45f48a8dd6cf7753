"""What the codebase example says of a file, and of many, is right."""

from __future__ import annotations

import io
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from examples.codebase import show
from examples.codebase.measure import measure, package, sources, summarize

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = '''\
"""A module."""

class Cart:
    """A cart."""

    def add(self, item):
        """Add it."""
        if item and item.price or item.free:
            for part in item:
                yield part

    async def clear(self):
        def inner(rows):
            return [row for row in rows if row if row.old]
        try:
            return inner(self)
        except ValueError:
            return 1 if self else 2
'''


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A folder with a module, a package, and a file that does not parse."""
    (tmp_path / "pack" / "__pycache__").mkdir(parents=True)
    (tmp_path / "pack" / "__pycache__" / "old.py").write_text("")
    (tmp_path / "pack" / "bad.py").write_text("def f(:\n")
    (tmp_path / "pack" / "cart.py").write_text(SAMPLE)
    (tmp_path / "alone.py").write_text("x = 1")
    return tmp_path


def test_definitions_docstrings_and_branches_are_counted(sample: Path) -> None:
    measured = measure(str(sample / "pack" / "cart.py"))
    assert {name: measured[name] for name in ("lines", "functions", "classes", "documented", "error")} == {
        "lines": 18,
        "functions": 3,
        "classes": 1,
        "documented": 2,
        "error": None,
    }
    # if, for, and two of `and ... or`; the comprehension of the inner function is its own
    assert measured["branchiest"] == {"name": "add", "line": 6, "branches": 4}


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"def f(:\n", "SyntaxError"),
        (b"x = '\xff'\n", "SyntaxError"),
        (b"\x00", "SyntaxError|ValueError"),
        (b"# coding: klingon\n", "SyntaxError"),
        (b"(" * 5000, "SyntaxError|MemoryError|RecursionError"),
    ],
)
def test_a_file_that_does_not_parse_is_a_result(source: bytes, error: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_bytes(source)
    measured = measure(str(path))
    assert measured["path"] == str(path)
    assert measured["error"].split(":")[0] in error.split("|")


def test_warnings_of_the_code_that_is_read_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(r"x = '\d'")
    assert measure(str(tmp_path / "old.py"))["error"] is None


def test_the_report_sums_up_and_names_what_does_not_parse(sample: Path) -> None:
    paths = sources(sample)
    found = summarize([measure(path) for path in paths], str(sample))
    assert (found["files"], found["lines"], found["functions"]) == (3, 19, 3)
    assert [row["name"] for row in found["packages"]] == ["pack", "(modules)"]
    assert [file["path"] for file in found["unreadable"]] == ["pack/bad.py"]
    assert found["branchiest"][0]["path"] == "pack/cart.py"
    assert found["paths"] == paths


def test_a_limit_takes_files_from_everywhere(sample: Path) -> None:
    assert len(sources(sample)) == 3
    assert sources(sample, 2) == [str(sample / "alone.py"), str(sample / "pack" / "bad.py")]
    assert package(str(sample / "alone.py"), str(sample)) == "(modules)"


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_quarters_elsewhere() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        progress = show.Progress(8, stream)
        for done in range(9):
            progress.draw(done, done * 0.5)
        progress.end(4.0)
    assert terminal.getvalue().count("\n") == 1
    assert "100%" in terminal.getvalue()
    assert [line.split(" files")[0] for line in file.getvalue().splitlines()] == [f"{n} of 8" for n in (2, 4, 6, 8)]
    assert "\x1b" not in file.getvalue()


def test_the_chart_is_plain_where_the_terminal_is(sample: Path) -> None:
    found = summarize([measure(path) for path in sources(sample)], str(sample))
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show.report(found, ascii_only)
    ascii_only.seek(0)
    text = ascii_only.read()
    assert "#" * show.BAR in text
    assert (
        dedent("""\
        1 files do not parse, and say why, for example
          pack/bad.py: SyntaxError: invalid syntax""")
        in text
    )


def run(**changes: Any) -> dict[str, Any]:
    """An account of a run in which all went well, but for the changes."""
    account: dict[str, Any] = {
        "tasks": 4,
        "seconds": 2.0,
        "seconds_to_send": 0.1,
        "tasks_a_second": 2.0,
        "killed": None,
        "was_reading": None,
        "redone_seconds": None,
        "missing": [],
        "more_than_once": [],
        "started_again": [],
    }
    return {**account, **changes}


def test_the_conclusion_tells_what_is_missing() -> None:
    good, bad = io.StringIO(), io.StringIO()
    again = [f"/{name}.py" for name in "abcdefghij"]
    show.conclusion(run(killed=7, was_reading="/a.py", redone_seconds=0.0123, started_again=again), good)
    show.conclusion(run(missing=["/b.py"]), bad)
    assert "each of the 3 files is in the report exactly once" in good.getvalue()
    assert "Process 7 was killed while it was reading /a.py" in good.getvalue()
    assert "the last 12 ms were not stored yet; another process did these 10 files again" in good.getvalue()
    assert good.getvalue().count("  /") == show.SOME
    assert "  and 2 more" in good.getvalue()
    assert "WRONG: missing ['/b.py']" in bad.getvalue()
