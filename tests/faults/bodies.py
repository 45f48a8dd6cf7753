"""What task bodies write about themselves; standard library only, so that any library's tasks can use it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.history import History


def body(history: History, id: str, do: Callable[[], Any], **data: Any) -> Any:
    """Run `do` between a start and an end; data goes into the start. An error is an outcome, and goes on."""
    token = f"{os.getpid()}-{time.monotonic_ns()}"
    history.write("start", id, token=token, **data)
    try:
        value = do()
    except BaseException:
        history.write("end", id, token=token, outcome="error")
        raise
    history.write("end", id, token=token, outcome="ok", value=value)
    return value


def work(history: History, id: str, seconds: float) -> str:
    """Sleep, and return the id."""

    def do() -> str:
        if seconds:
            time.sleep(seconds)
        return id

    result: str = body(history, id, do)
    return result


def poison(history: History, id: str) -> None:
    """Kill the process that runs it."""

    def do() -> None:
        history.write("fault", f"{id}-{time.monotonic_ns()}", kind="kill", phase="point", pids=[os.getpid()])
        os.kill(os.getpid(), signal.SIGKILL)

    body(history, id, do)
