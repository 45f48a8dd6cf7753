"""A worker with long and short tasks of one name, and one with a poison task among good ones."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tests.faults.history import History, Tail
from tests.faults.kills import Target, environ
from tests.faults.processes import Sender, Worker, kill, survivors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


class Scene:
    """A sender and a worker on one database, and how far they have come."""

    def __init__(self, folder: Path, children: int, target: Target | None = None, **more: str) -> None:
        self.history = History(folder / "history.jsonl")
        target = target or Target()
        env = environ(folder, folder / target.database, **target.environ, **more)
        self.sender = Sender(target.sender, env, folder)
        self.worker = Worker((*target.worker, target.concurrency, str(children)), env, folder)
        self._tail = Tail(self.history.path)
        self.ended: set[str] = set()

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        kill(self.worker.pids() if self.worker.ended() is None else [])
        self.sender.close()
        self.history.close()

    def until(self, is_so: Callable[[], bool], timeout: float) -> bool:
        """Wait for it; False when the time is up. RuntimeError when the worker has ended."""
        deadline = time.monotonic() + timeout
        while True:
            self.ended.update(event.id for event in self._tail.read() if event.kind == "end")
            if is_so():
                return True
            if self.worker.ended() is not None:
                raise RuntimeError(f"the worker has ended; its last words:\n{self.worker.words()}")
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)

    def until_all(self, ids: Iterable[str], timeout: float) -> bool:
        """Wait until all these tasks have ended."""
        wanted = set(ids)
        return self.until(lambda: wanted <= self.ended, timeout)

    def stop(self) -> None:
        """End the worker warmly, then look into the queue."""
        pids = self.worker.pids()
        self.history.write("fault", "stop", kind="stop", phase="begin", pids=pids)
        self.worker.terminate()
        deadline = time.monotonic() + 40
        while self.worker.ended() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        left = survivors(pids, 2.0)
        self.history.write("fault", "stop", phase="end", survivors=left)
        kill(left)


def mixed(
    folder: Path,
    *,
    tasks: int,
    short: float,
    long: float,
    share: float,
    children: int,
    seed: int,
    target: Target | None = None,
) -> float:
    """Tasks of one name, all in the queue before the worker starts; a share of them is long.

    Returns the seconds that the work would take if no child were ever idle while there is some.
    """
    dice = random.Random(seed)
    jobs = [(f"task-{n:06}", long if dice.random() < share else short) for n in range(tasks)]
    least = max(long, sum(seconds for _, seconds in jobs) / children)
    with Scene(folder, children, target) as scene:
        scene.sender.order("send", jobs=jobs, bulk=True)
        scene.worker.start()
        scene.until_all((id for id, _ in jobs), 3 * least + 60)
        scene.stop()
        scene.sender.order("look")
    return least


def blame(folder: Path, *, good: int, limit: int, children: int, seconds: float = 0.001) -> None:
    """One task that kills its process, in the middle of good ones."""
    with Scene(folder, children, FAULTS_DELIVERY_LIMIT=str(limit)) as scene:
        jobs = [(f"good-{n:06}", seconds) for n in range(good)]
        scene.sender.order("send", jobs=jobs[: good // 2], bulk=True)
        scene.sender.order("poison", id="poison")
        scene.sender.order("send", jobs=jobs[good // 2 :], bulk=True)
        scene.worker.start()
        scene.until_all((id for id, _ in jobs), 60.0)
        scene.until(lambda: bool(scene.sender.order("dead")), 60.0)
        time.sleep(0.5)  # for a letter too many
        scene.sender.order("dead")
        scene.stop()
