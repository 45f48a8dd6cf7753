"""Signals as bytes of a stream, for a loop that waits on several streams."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class SignalStream:
    """Owns the handlers of its signals, and the wakeup descriptor of the process; main thread only."""

    def __init__(self, signals: Iterable[int]) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._fd_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before: dict[int, Any] = {}
        for signum in signals:
            # What nohup, or whoever started us, had ignored stays so.
            if signal.getsignal(signum) is not signal.SIG_IGN or signum == signal.SIGCHLD:
                self._before[signum] = signal.signal(signum, _noted)

    def fileno(self) -> int:
        """For selectors."""
        return self._reader.fileno()

    def receive(self) -> list[int]:
        """The signals that have come, in order."""
        try:
            return list(self._reader.recv(4096))
        except BlockingIOError:
            return []

    def abandon(self) -> None:
        """Close the copies of a forked process; its handlers are its own affair."""
        self._reader.close()
        self._writer.close()

    def close(self) -> None:
        """Put the handlers back. Twice is fine."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()
        if self._reader.fileno() >= 0:
            signal.set_wakeup_fd(self._fd_before)
            self.abandon()


def _noted(signum: int, frame: Any) -> None:
    """The wakeup descriptor has it already."""
