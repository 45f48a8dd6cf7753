"""The supervisor: forks, waits, reads pipes, replaces, stops. It has no connection, no lock and no second thread."""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from umbel import signals
from umbel.worker.agency import Agency
from umbel.worker.children import Children, Place
from umbel.worker.page import Page
from umbel.worker.processes import close_all, fork, reap_orphans, set_title
from umbel.worker.running import MOST
from umbel.worker.wakeup import SignalStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from umbel.results.applike import AppLike
    from umbel.worker.channel import Channel
    from umbel.worker.options import WorkerOptions
    from umbel.worker.page import Slot
    from umbel.worker.processes import Process

logger = logging.getLogger("umbel.worker")

TICK = 0.5
"""Seconds between two looks at the page for deadlines: a child that sets one cannot afford to tell us."""
COLD = 0.3
"""Seconds that children have to leave when they are told to terminate."""
CLOSING = 1.5
"""Seconds that the end of a shutdown may take, once the children are gone."""
FULL_LINE = 0.05
"""Seconds after which to write on to a process that does not read."""
SAME = 0.2
"""Seconds within which a second TERM is the first one: `timeout` and init systems send it to us and to our group."""


class ChildEntry(Protocol):
    """What a forked child does; see `umbel.worker.entry.run_child`."""

    def __call__(
        self, app: AppLike, options: WorkerOptions, *, slot: Slot, owner: str, control: socket.socket
    ) -> int: ...


class AgentEntry(Protocol):
    """What the forked agent does; see `umbel.worker.agent.run_agent`."""

    def __call__(self, app: AppLike, options: WorkerOptions, control: socket.socket) -> int: ...


class Supervisor:
    """Runs a worker of several processes. `run` blocks, in the main thread, which must be the only one."""

    def __init__(
        self,
        app: AppLike,
        options: WorkerOptions,
        *,
        child: ChildEntry,
        agent: AgentEntry,
        after_fork: Callable[[], None] = lambda: None,
    ) -> None:
        """`after_fork` is called in each new process, to let go of what only this one may hold."""
        self.app = app
        self.options = options
        self._child = child
        self._agent = agent
        self._after_fork = after_fork
        page = Page(options.children, options.slots + MOST)
        self._children = Children(options, page, start=self._fork_child, gone=self._let_go)
        self._agency = Agency(start=self._fork_agent, gone=self._let_go)
        self._announced = False
        self._exit_code = 0
        self._stopping = False
        self._asked_by: int | None = None
        self._asked = 0.0
        """When the last signal to stop came. This and the next are monotonic."""
        self._kill_at: float | None = None
        """When the children that are left are killed."""
        self._killed = False
        self._give_up_at: float | None = None
        """When the agent is not waited for any longer."""
        self._dismissed = False

    def run(self) -> int:
        """Work until told to stop; the exit code."""
        set_title(f"umbel: worker {self.options.hostname}")
        signals.worker_init.send(sender=self)
        # What exists now is never freed by a child: its pages stay shared. (To collect first costs more than it frees.)
        gc.freeze()
        self._selector = selectors.DefaultSelector()
        self._signals = SignalStream(
            (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD),
        )
        self._selector.register(self._signals, selectors.EVENT_READ)
        try:
            while not self._over():
                self._start()
                self._turn()
            if self._agency.unconfirmed:
                logger.warning("What %d children held comes back when its leases end", self._agency.unconfirmed)
        finally:
            self._kill_all()
            self._selector.close()
            self._signals.close()
            gc.unfreeze()
        signals.worker_shutdown.send(sender=self)
        return self._exit_code

    # Starting

    def _start(self) -> None:
        now = time.monotonic()
        if not self._dismissed:
            self._agency.turn(now)
        if not self._stopping:
            self._children.start_due(now, self._agency.born)

    def _fork_child(self, place: Place) -> Process:
        if signals.worker_before_create_process.receivers:
            signals.worker_before_create_process.send(sender=self)
        slot, owner = place.slot, place.owner
        process = fork(
            lambda control: self._child(self.app, self.options, slot=slot, owner=owner, control=control),
            title=f"umbel: child {place.index + 1} of {self.options.hostname}",
            abandon=self._abandon,
        )
        hear = partial(self._children.hear, place)
        self._selector.register(process.control, selectors.EVENT_READ, (process.control, hear))
        return process

    def _fork_agent(self) -> Process:
        process = fork(
            lambda control: self._agent(self.app, self.options, control),
            title=f"umbel: agent of {self.options.hostname}",
            abandon=self._abandon,
        )
        self._selector.register(process.control, selectors.EVENT_READ, (process.control, self._agency.hear))
        return process

    def _abandon(self) -> None:
        """In a new process: close what is the supervisor's, or its death would not end our siblings' lines."""
        self._signals.abandon()
        self._selector.close()
        close_all(self._controls())
        self._after_fork()

    def _let_go(self, process: Process) -> None:
        try:
            self._selector.unregister(process.control)
        except KeyError:  # its line had ended before
            pass
        process.control.close()

    # Waiting

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._wait()):
            if key.data is None:
                for signum in self._signals.receive():
                    self._on_signal(signal.Signals(signum))
            else:
                control, hear = key.data
                hear()
                if control.ended:
                    self._selector.unregister(control)
        for control in self._controls():
            control.flush()
        for death in self._children.reap(stopping=self._stopping, killed=self._killed):
            self._agency.died(death)
        self._agency.reap(expected=self._dismissed)
        if os.getpid() == 1:
            reap_orphans([process.pid for process in self._processes()])
        self._children.kill_overdue()
        self._judge_start()
        if self._stopping:
            self._press_on()

    def _wait(self) -> float:
        now = time.monotonic()
        moments = [
            self._children.next_deadline(),
            None if self._stopping else self._children.due(),
            None if self._dismissed else self._agency.due(),
            None if self._killed else self._kill_at,
            self._give_up_at,
            now + FULL_LINE if any(control.pending for control in self._controls()) else None,
        ]
        return max(0.0, min([TICK, *(moment - now for moment in moments if moment is not None)]))

    def _processes(self) -> list[Process]:
        processes = [process for _, process in self._children.living()]
        if self._agency.process is not None:
            processes.append(self._agency.process)
        return processes

    def _controls(self) -> list[Channel]:
        return [process.control for process in self._processes()]

    def _judge_start(self) -> None:
        """Tell when all are ready, or end the worker when none can ever be."""
        if not self._announced and self._children.all_ready:
            self._announced = True
            logger.info("%s ready", self.options.hostname)
            signals.worker_ready.send(sender=self)
        if not self._children.worked and not self._stopping and (error := self._children.hopeless()) is not None:
            logger.critical("%s cannot start: %s", self.options.hostname, error)
            self._exit_code = 1
            self._terminate()

    # Stopping

    def _on_signal(self, signum: signal.Signals) -> None:
        if signum == signal.SIGCHLD:
            return
        now = time.monotonic()
        repeated = (signum, self._asked_by) == (signal.SIGTERM, signal.SIGTERM) and now - self._asked < SAME
        self._asked, self._asked_by = now, signum
        if signum == signal.SIGQUIT or (self._stopping and not repeated):
            logger.warning("%s: stopping at once; what is running goes back to its queue", signum.name)
            self._exit_code = 1
            self._announce_end(signum, "Cold")
            self._terminate()
        elif not self._stopping:
            logger.warning(
                "%s: stopping; running tasks have %g s to finish (once more: stop at once)",
                signum.name,
                self.options.grace,
            )
            self._announce_end(signum, "Warm")
            self._stopping = True
            self._kill_at = now + self.options.grace
            self._tell_children({"stop": self.options.grace})

    def _announce_end(self, signum: signal.Signals, how: str) -> None:
        signals.worker_shutting_down.send(
            sender=self.options.hostname, sig=signum.name, how=how, exitcode=self._exit_code
        )

    def _terminate(self) -> None:
        self._stopping = self._killed = True
        self._kill_at = time.monotonic() + COLD
        self._tell_children({"terminate": True})

    def _tell_children(self, message: dict[str, object]) -> None:
        for _, process in self._children.living():
            process.control.send(message)

    def _press_on(self) -> None:
        """What the end still needs: the children gone, then their owners released, then the agent gone."""
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            left = [process for _, process in self._children.living()]
            if left and not self._killed:
                logger.warning(
                    "%d children have not finished within %g s, and are killed", len(left), self.options.grace
                )
            for process in left:
                process.kill()
            self._killed = True
            self._kill_at = now + COLD
            self._give_up_at = self._give_up_at or now + CLOSING
        if not any(self._children.living()):
            self._give_up_at = self._give_up_at or now + CLOSING
            if not self._agency.unconfirmed and not self._dismissed:
                self._dismissed = True
                self._agency.stop()

    def _over(self) -> bool:
        if self._give_up_at is not None and time.monotonic() >= self._give_up_at:
            return True
        return self._dismissed and self._agency.process is None

    def _kill_all(self) -> None:
        for process in self._processes():
            process.kill()
