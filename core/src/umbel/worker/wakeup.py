"""Signals as bytes of a stream, for a loop that waits on several streams."""

from __future__ import annotations

import selectors
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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


class Listening:
    """Calls `heard(signum)` on a thread of its own for each signal, whatever the main thread is doing.

    A handler of Python's runs in the main thread, and not before that has something to do: one that comes just as the
    main thread goes to sleep on a lock may never run. A context manager, to be entered by the main thread.
    """

    def __init__(self, signals: Iterable[int], heard: Callable[[int], None]) -> None:
        self._signals = frozenset(signals)
        self._heard = heard
        self._thread = threading.Thread(target=self._run, name="umbel-signals", daemon=True)

    def __enter__(self) -> Listening:
        self._stream = SignalStream(self._signals)
        self._stop, self._stopped = socket.socketpair()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.close()
        self._thread.join()
        self._stopped.close()
        self._stream.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stream, selectors.EVENT_READ)
            selector.register(self._stopped, selectors.EVENT_READ)
            while not any(key.fileobj is self._stopped for key, _ in selector.select()):
                for signum in self._stream.receive():
                    if signum in self._signals:  # every signal with a handler is written there
                        self._heard(signum)
