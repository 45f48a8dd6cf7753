"""huey on SQLite, by its documents: https://huey.readthedocs.io ("SqliteHuey", "Consuming tasks").

`fsync` is its own parameter: True is `synchronous=FULL`, False is OFF; not given, SQLite's default stays, also FULL.
"""

from __future__ import annotations

from huey import SqliteHuey  # type: ignore[import-not-found]
from sides.base import Setting

setting = Setting.of_environ()
FSYNC = {"full": True, "default": None, "relaxed": False}[setting.mode]

huey = SqliteHuey("bench", filename=str(setting.folder / "huey.db"), results=setting.results, fsync=FSYNC)
marks = setting.marks()


@huey.task()  # type: ignore[untyped-decorator]
def mark(n: int) -> int:
    marks.mark(n)
    return n


@huey.task()  # type: ignore[untyped-decorator]
def gate(index: int, workers: int) -> bool:
    return marks.gate(index, workers)
