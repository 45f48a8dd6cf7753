"""Umbel on SQLite."""

from __future__ import annotations

from sides.base import Setting
from umbel import Umbel

setting = Setting.of_environ()
URL = f"sqlite:///{setting.folder / 'umbel.db'}" + ("?fast=1" if setting.mode == "relaxed" else "")

app = Umbel("bench", broker=URL, backend=URL if setting.results else None)
app.conf.task_default_queue = "bench"
marks = setting.marks()


@app.task(name="mark", ignore_result=not setting.results)
def mark(n: int) -> int:
    marks.mark(n)
    return n


@app.task(name="gate", ignore_result=True)
def gate(index: int, workers: int) -> bool:
    return marks.gate(index, workers)
