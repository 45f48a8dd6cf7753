"""Real processes for the tests: forked, spoken with by lines, killed without mercy."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 20.0


class Child:
    """A process that runs `work(say, hear)`: `say` sends a line to us, `hear` waits for one of ours."""

    def __init__(self, work: Callable[[Callable[[object], None], Callable[[], str]], None]) -> None:
        ours, theirs = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(ours[0])
            os.close(theirs[1])
            self._child(work, os.fdopen(ours[1], "w", buffering=1), os.fdopen(theirs[0]))
        os.close(ours[1])
        os.close(theirs[0])
        self._lines = os.fdopen(ours[0])
        self._orders = os.fdopen(theirs[1], "w", buffering=1)
        self._ended = False

    @staticmethod
    def _child(work: Callable[..., None], out: object, orders: object) -> None:
        code = 1
        try:
            work(lambda line: print(line, file=out), lambda: orders.readline().strip())  # type: ignore[attr-defined]
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)

    def hear(self, timeout: float = PATIENCE) -> str:
        """The next line that it says."""
        ready, _, _ = select.select([self._lines], [], [], timeout)
        assert ready, "the child said nothing"
        return self._lines.readline().strip()

    def rest(self) -> list[str]:
        """All that it still says until it ends."""
        return self._lines.read().split("\n")[:-1]

    def tell(self, line: object = "go") -> None:
        """Send it a line."""
        print(line, file=self._orders)

    def signal(self, number: int) -> None:
        """Send a signal to it alone."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would, if it has not ended."""
        if not self._ended:
            self.signal(signal.SIGKILL)
            self.wait()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        deadline = time.monotonic() + PATIENCE
        while not self._ended:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._ended = True
                self._code = os.waitstatus_to_exitcode(status)
            else:
                assert time.monotonic() < deadline, "the child does not end"
                time.sleep(0.002)
        return self._code

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self._lines.close()
        self._orders.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, kernel included."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
