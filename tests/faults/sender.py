"""A process that sends tasks when told to, and writes down what it was promised.

One JSON object a line on standard input, one answer a line on standard output. It is a process of its own because the
harness has no library in it: the same harness drives others, to show that it would see a loss.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.history import History


class Subject(ABC):
    """A library, as far as the harness needs it."""

    @abstractmethod
    def send(self, jobs: Sequence[tuple[str, float]], bulk: bool) -> None:
        """Send tasks that run `bodies.work(id, seconds)`, one by one or in one call."""

    def send_poison(self, id: str) -> None:
        """Send a task that runs `bodies.poison(id)`."""
        raise NotImplementedError

    def dead(self) -> dict[str, str]:
        """The dead letters: task and reason."""
        return {}

    def look(self) -> dict[str, int | None]:
        """What is left in the queue, by kind; empty where that cannot be known."""
        return {}

    def results(self, ids: Sequence[str]) -> dict[str, tuple[str, Any]]:
        """State and value of each task of which there is a result."""
        return {}


def serve(subject: Subject, history: History) -> None:
    """Obey standard input until it ends."""
    for line in sys.stdin:
        order = json.loads(line)
        answer: Any = None
        if order["do"] == "send":
            _send(subject, history, [(id, seconds) for id, seconds in order["jobs"]], order["bulk"])
        elif order["do"] == "poison":
            history.write("enqueue", order["id"], outcome="invoke", poison=True)
            subject.send_poison(order["id"])
            history.write("enqueue", order["id"], outcome="ok")
        elif order["do"] == "dead":
            answer = subject.dead()
            for id, reason in answer.items():
                history.write("dead", id, reason=reason)
        elif order["do"] == "look":
            answer = subject.look()
            if answer:
                history.write("quiescence", **answer)
        elif order["do"] == "results":
            for id, (state, value) in subject.results(order["ids"]).items():
                history.write("result", id, state=state, value=value)
        print(json.dumps(answer), flush=True)


def _send(subject: Subject, history: History, jobs: list[tuple[str, float]], bulk: bool) -> None:
    batches = [jobs] if bulk else [[job] for job in jobs]
    for batch in batches:
        for id, _ in batch:
            history.write("enqueue", id, outcome="invoke")
        try:
            subject.send(batch, bulk)
            outcome = "ok"
        except Exception as exc:
            outcome = "info"  # some of it may have been sent
            print(f"sending failed: {exc!r}", file=sys.stderr, flush=True)
        for id, _ in batch:
            history.write("enqueue", id, outcome=outcome)
