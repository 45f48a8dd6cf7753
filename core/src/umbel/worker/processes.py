"""Forking a process that ends with its parent, and watching it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from umbel.exceptions import UmbelError
from umbel.spec import BackendError, BrokerError
from umbel.worker.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

CAN_FORK = hasattr(os, "fork")
PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


@dataclass(slots=True)
class Process:
    """A forked process that has not been buried yet, and the line to it."""

    pid: int
    control: Channel
    status: int | None = None
    """Its exit code, or minus the number of the signal that ended it; None while it runs."""

    def poll(self) -> int | None:
        """Its status, without waiting."""
        if self.status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # a handler of the application's has waited for it before us
                self.status = -signal.SIGKILL
            else:
                if pid:
                    self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def kill(self) -> None:
        """End it at once. A process that has ended, but was not polled, keeps its pid: no other one can be hit."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def fork(entry: Callable[[socket.socket], int], *, title: str, abandon: Callable[[], None]) -> Process:
    """Run `entry` in a new process; its argument is the other end of the line, its value the exit code.

    `abandon` is called there first, to close what belongs to the parent. The process dies with its parent.
    """
    ours, theirs = socket.socketpair()
    _flush()
    parent = os.getpid()
    # A signal that comes before the child has its own handlers must not run, or be written to, the parent's.
    before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ours.close()
            _settle_in(parent, title, abandon)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            code = entry(theirs)
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        except BaseException:  # noqa: BLE001 - the last frame of a process: it tells, and ends
            traceback.print_exc()
        finally:
            _flush()
            os._exit(code)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return Process(pid, Channel(ours))


def in_a_process(work: Callable[[], None]) -> str | None:
    """Do something that opens connections in a process of its own, and wait; what went wrong, or None."""

    def entry(control: socket.socket) -> int:
        try:
            work()
        except (BrokerError, BackendError, UmbelError) as exc:
            Channel(control).send({"error": str(exc)})
        return 0

    process = fork(entry, title="umbel", abandon=lambda: None)
    _, status = os.waitpid(process.pid, 0)
    process.status = os.waitstatus_to_exitcode(status)
    words = process.control.receive()
    process.control.close()
    if words:
        return str(words[0]["error"])
    return f"a process of it ended with status {process.status}" if process.status else None


def reap_orphans(ours: Collection[int]) -> None:
    """Bury what tasks have left behind; as process 1, of a container, nobody else will. `ours` are left alone."""
    try:
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if found.si_pid in ours:  # it has died since it was polled: its turn comes
                break
            os.waitpid(found.si_pid, os.WNOHANG)
    except ChildProcessError:
        pass


def _settle_in(parent: int, title: str, abandon: Callable[[], None]) -> None:
    signal.set_wakeup_fd(-1)
    die_with_parent(parent)
    reset_signals()
    abandon()
    # Tasks do not compete for the terminal's input.
    with contextlib.suppress(OSError):
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.close(empty)
    set_title(title)


def reset_signals() -> None:
    """Leave stopping to the supervisor, although a terminal and an init system signal the whole group."""
    # Ctrl-C gives running tasks their time, and the programs that they start: an ignored signal stays so across exec.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, _leave_it_to_the_supervisor)  # unlike SIG_IGN, a program that a task starts is spared it
    for signum in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        signal.signal(signum, signal.SIG_DFL)


def _leave_it_to_the_supervisor(signum: int, frame: Any) -> None:
    pass


_libc: Any = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; elsewhere than Linux, the line's end has to tell it."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


try:
    _setproctitle: Callable[[str], None] | None = importlib.import_module("setproctitle").setproctitle
except ImportError:
    _setproctitle = None


def set_title(title: str) -> None:
    """Name this process in the process list, where setproctitle is installed."""
    if _setproctitle is not None:
        _setproctitle(title)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # none, broken or closed
            stream.flush()


def close_all(things: Iterable[Any]) -> None:
    """Close each, whatever state it is in."""
    for thing in things:
        with contextlib.suppress(OSError):
            thing.close()
