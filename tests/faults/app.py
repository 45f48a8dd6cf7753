"""Umbel under faults: the worker's application, and run as a program the sender."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults import bodies
from tests.faults.history import History
from tests.faults.sender import Subject, serve
from umbel import Umbel
from umbel.spec import DEATH

if TYPE_CHECKING:
    from collections.abc import Sequence

QUEUE = "faults"
url = f"sqlite:///{os.environ['FAULTS_DATABASE']}"
history = History(Path(os.environ["FAULTS_FOLDER"]) / "history.jsonl")

app = Umbel("faults", broker=url, backend=url)
app.conf.task_default_queue = QUEUE
app.conf.task_delivery_limit = int(os.environ.get("FAULTS_DELIVERY_LIMIT", "1000"))


@app.task(name="work")
def work(id: str, seconds: float) -> str:
    return bodies.work(history, id, seconds)


@app.task(name="poison")
def poison(id: str) -> None:
    bodies.poison(history, id)


class UmbelSubject(Subject):
    """Tasks are known here by the id in their arguments, not by the library's."""

    def __init__(self) -> None:
        self._results: dict[str, Any] = {}

    def send(self, jobs: Sequence[tuple[str, float]], bulk: bool) -> None:
        results = work.delay_many(list(jobs)) if bulk else [work.delay(*job) for job in jobs]
        self._results.update(zip((id for id, _ in jobs), results, strict=True))

    def send_poison(self, id: str) -> None:
        self._results[id] = poison.delay(id)

    def dead(self) -> dict[str, str]:
        names = {result.id: id for id, result in self._results.items()}
        letters = app.broker.browse(f"{QUEUE}.dead", 10_000)
        return {names[each.id]: str((each.headers.get(DEATH) or {}).get("reason")) for each in letters}

    def look(self) -> dict[str, int | None]:
        left: dict[str, int | None] = {}
        for queue, stats in app.broker.stats([QUEUE, f"{QUEUE}.dead"]).items():
            for name in ("ready", "leased", "delayed"):
                left[f"{queue}_{name}"] = getattr(stats, name)
        return left

    def results(self, ids: Sequence[str]) -> dict[str, tuple[str, Any]]:
        states = {id: self._results[id].state for id in ids}
        return {id: (state, self._results[id].result if state == "SUCCESS" else None) for id, state in states.items()}


if __name__ == "__main__":
    serve(UmbelSubject(), history)
