"""huey under the same kills, to show what the harness sees where tasks are lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huey import SqliteHuey  # type: ignore[import-not-found]

from tests.faults import bodies
from tests.faults.history import History
from tests.faults.sender import Subject, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

huey = SqliteHuey("faults", filename=os.environ["FAULTS_DATABASE"], fsync=True)
history = History(Path(os.environ["FAULTS_FOLDER"]) / "history.jsonl")


@huey.task()  # type: ignore[untyped-decorator]
def work(id: str, seconds: float) -> str:
    return bodies.work(history, id, seconds)


class HueySubject(Subject):
    """Its own call for many is `map`."""

    def __init__(self) -> None:
        self._results: dict[str, Any] = {}

    def send(self, jobs: Sequence[tuple[str, float]], bulk: bool) -> None:
        results = work.map(list(jobs)) if bulk else [work(*job) for job in jobs]
        self._results.update(zip((id for id, _ in jobs), results, strict=True))


def main() -> None:
    """Send. To be imported and called: huey names tasks after their modules, so this must not be `__main__`."""
    serve(HueySubject(), history)
