"""The application: a task that measures one file, and one that makes the report of all of them."""

from __future__ import annotations

import os
import time
from typing import Any

from examples.codebase.measure import measure, summarize
from umbel import Umbel

app = Umbel("codebase")


@app.task
def count(path: str) -> dict[str, Any]:
    """Measure one file. A file that does not parse is a result as well, not a failure."""
    note("start", path)
    measured = measure(path)
    note("end", path)
    return measured


@app.task
def report(files: list[dict[str, Any]], base: str) -> dict[str, Any]:
    """Make one report of all files."""
    return summarize(files, base)


def note(event: str, path: str) -> None:
    """Write down what this process does, if CODEBASE_JOURNAL names a file: one line in one write, so none is torn.

    It is how `--kill` shows what happened: it believes what the tasks wrote themselves, not what the library counts.
    """
    journal = os.environ.get("CODEBASE_JOURNAL")
    if journal:
        file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, f"{time.monotonic():.6f}\t{os.getpid()}\t{event}\t{path}\n".encode(errors="surrogateescape"))
        finally:
            os.close(file)
