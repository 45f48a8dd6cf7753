"""A worker inside this process, without supervisor and agent: for solo, memory:// and tests."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

from umbel import signals
from umbel.spec import BrokerError
from umbel.worker.child import Child
from umbel.worker.wakeup import Listening

if TYPE_CHECKING:
    from umbel.results.applike import AppLike
    from umbel.worker.options import WorkerOptions

logger = logging.getLogger("umbel.worker")


def owner_name(hostname: str) -> str:
    """A name that no other process, nor another worker of this one, has."""
    return f"{hostname}/0/{os.getpid()}.{os.urandom(4).hex()}"


def run_embedded(app: AppLike, options: WorkerOptions) -> int:
    """Work in the foreground until told to stop; the exit code.

    TERM and the first INT stop it warmly, within the grace; the second INT, and QUIT, at once.
    """
    child = Child(app, options, owner=owner_name(options.hostname), renews=True)
    asked = 0

    def heard(signum: int) -> None:
        nonlocal asked
        asked += 1
        if asked > 1 or signum == signal.SIGQUIT:
            os._exit(1)
        logger.warning("stopping: running tasks have %g s to finish; once more to stop at once", options.grace)
        signals.worker_shutting_down.send(sender=options.hostname, sig=signum, how="Warm", exitcode=0)
        child.stop()
        late = threading.Timer(options.grace + 1.0, os._exit, (0,))
        late.daemon = True
        late.start()

    signals.worker_init.send(sender=child)
    try:
        with Listening((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT), heard):
            child.run(ready=lambda: _ready(child))
    except BrokerError as exc:
        logger.critical("cannot start: %s", exc)
        return 1
    signals.worker_shutdown.send(sender=child)
    return 0


def _ready(child: Child) -> None:
    logger.info("%s ready", child.options.hostname)
    signals.worker_ready.send(sender=child)


class Embedded:
    """A worker on threads of this process. A context manager: ready inside, stopped after."""

    def __init__(self, app: AppLike, options: WorkerOptions) -> None:
        self.child = Child(app, options, owner=owner_name(options.hostname), renews=True)
        self._error: BrokerError | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="umbel-embedded", daemon=True)

    def start(self, timeout: float = 10.0) -> None:
        """Start, and wait until it consumes; BrokerError if it cannot."""
        self._thread.start()
        if not self._ready.wait(timeout):
            raise BrokerError(f"the worker did not start within {timeout:g} s")
        if self._error is not None:
            raise self._error

    def stop(self, grace: float = 10.0) -> bool:
        """Stop warmly; whether it had ended within `grace` seconds and a little more. Twice is fine."""
        self.child.stop(grace)
        self._thread.join(grace + 2.0)
        if self._thread.is_alive():
            return False
        if self.child.options.rates is not None:
            self.child.options.rates.close()
        return True

    def _run(self) -> None:
        try:
            self.child.run(ready=self._ready.set)
        except BrokerError as exc:
            self._error = exc
        finally:
            self._ready.set()
