"""The agent: keeps what the living children hold, and gives back what the dead ones held."""

from __future__ import annotations

import logging
import random
import selectors
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from umbel.exceptions import ImproperlyConfigured, TimeLimitExceeded, WorkerLostError
from umbel.results.codec import encode_failure
from umbel.spec import BackendError, BrokerError, Result, Unsupported
from umbel.states import FAILURE
from umbel.worker.channel import Channel
from umbel.worker.death import Death
from umbel.worker.finish import VERDICT

if TYPE_CHECKING:
    import socket

    from umbel.results.applike import AppLike
    from umbel.worker.death import Failed
    from umbel.worker.options import WorkerOptions

logger = logging.getLogger("umbel.worker.agent")

TICK = 5.0
"""Seconds within which the supervisor hears of us, whatever we do."""
FIRST_WAIT = 0.1
LONGEST_WAIT = 2.0
"""Seconds between two tries of what failed."""
STORE_PATIENCE = 10.0
"""Seconds for which a dead owner's deliveries wait for a result store that does not answer."""
SECOND_LOOK = 1.0
"""Seconds after which a dead owner is released once more: its last request may have reached the server late."""


def run_agent(app: AppLike, options: WorkerOptions, control: socket.socket) -> int:
    """Serve until told to stop, or until the supervisor is gone; the exit code of the process."""
    line = Channel(control)
    try:
        return Agent(app, options, line).run()
    except ImproperlyConfigured as exc:
        line.send({"error": str(exc)})
        return 1


@dataclass(slots=True)
class _Held:
    """An owner whose leases are renewed."""

    due: float
    wait: float = FIRST_WAIT
    failing: bool = False


@dataclass(slots=True)
class _Burial:
    """A dead owner whose tasks are being dealt with."""

    death: Death
    since: float = field(default_factory=time.monotonic)
    stored: bool = False
    released: bool = False
    due: float = 0.0
    wait: float = FIRST_WAIT


class Agent:
    """One thread, with connections of its own. Moments are monotonic."""

    def __init__(self, app: AppLike, options: WorkerOptions, control: Channel) -> None:
        self._app = app
        self._options = options
        self._control = control
        self._broker = app.broker
        capabilities = self._broker.capabilities
        self._by_owner = capabilities.held_by == "owner"
        self._interval = capabilities.lease / 3 if self._by_owner and capabilities.lease else None
        self._held: dict[str, _Held] = {}
        self._burials: list[_Burial] = []
        self._stopping = False

    def run(self) -> int:
        """Serve until told to stop."""
        self._control.send({"ready": True})
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            while not (self._control.ended or (self._stopping and all(burial.released for burial in self._burials))):
                selector.select(self._wait())
                for message in self._control.receive():
                    self._take(message)
                self._bury()
                self._renew()
                self._control.send({"tick": True})
        if not self._control.ended:  # else the supervisor is dead: whoever takes over must not meet us
            self._broker.close()
            if self._app.backend is not None:
                self._app.backend.close()
        return 0

    def _take(self, message: dict[str, Any]) -> None:
        if "alive" in message:
            now = time.monotonic()
            for owner in message["alive"]:
                self._held.setdefault(owner, _Held(now))
        elif "dead" in message:
            death = Death.from_dict(message["dead"])
            self._held.pop(death.owner, None)
            self._burials.append(_Burial(death))
        elif "stop" in message:
            self._stopping = True
            self._held.clear()

    def _wait(self) -> float:
        moments = [burial.due for burial in self._burials]
        if self._interval is not None:
            moments += [held.due for held in self._held.values()]
        return max(0.0, min(TICK, min(moments, default=TICK + time.monotonic()) - time.monotonic()))

    def _renew(self) -> None:
        if self._interval is None:
            return
        for owner, held in self._held.items():
            if held.due > time.monotonic():
                continue
            try:
                self._broker.renew(owner)
            except BrokerError as exc:
                held.due = time.monotonic() + held.wait
                held.wait = min(2 * held.wait, LONGEST_WAIT, self._interval)
                if not held.failing:
                    logger.warning("The leases of %s cannot be renewed, trying on: %s", owner, exc)
                held.failing = True
            else:
                held.due = time.monotonic() + self._interval * random.uniform(0.8, 1.0)
                if held.failing:
                    logger.info("The leases of %s are renewed again", owner)
                held.wait, held.failing = FIRST_WAIT, False
            self._control.send({"tick": True})

    def _bury(self) -> None:
        for burial in list(self._burials):
            if burial.due > time.monotonic():
                continue
            try:
                self._store(burial)
                self._release(burial)
            except (BrokerError, BackendError) as exc:
                burial.due = time.monotonic() + burial.wait
                burial.wait = min(2 * burial.wait, LONGEST_WAIT)
                logger.warning("What %s held cannot be given back yet, trying on: %s", burial.death.owner, exc)

    def _store(self, burial: _Burial) -> None:
        """Results come first: whoever gets the message again then sees that it is over."""
        backend, death = self._app.backend, burial.death
        if burial.stored or backend is None or not death.failed:
            return
        try:
            backend.store([self._result(failed, death) for failed in death.failed], ttl=self._app.conf.result_expires)
        except BackendError:
            if time.monotonic() - burial.since < STORE_PATIENCE:
                raise
            ids = ", ".join(failed.id for failed in death.failed)
            logger.exception("The failure of %s could not be stored; what is delivered again will run again", ids)
        burial.stored = True

    def _result(self, failed: Failed, death: Death) -> Result:
        error = (
            WorkerLostError(f"the process that ran it died: {death.reason}")
            if failed.limit is None
            else TimeLimitExceeded(failed.limit)
        )
        body, content_type = encode_failure(self._app.serializers, error, self._app.conf.result_serializer)
        return Result(
            id=failed.id,
            state=FAILURE,
            body=body,
            content_type=content_type,
            attempt=failed.attempt,
            generation=failed.generation,
            terminal=True,
            meta={"date_done": time.time(), "worker": self._options.hostname, VERDICT: True},
        )

    def _release(self, burial: _Burial) -> None:
        owner = burial.death.owner
        if self._by_owner:  # else the broker saw the connection end, or each message waits for its own lease
            try:
                self._broker.release(owner, () if burial.released else burial.death.charged)
            except Unsupported:
                logger.debug("The broker releases nobody: what %s held waits for its leases to end", owner)
        if burial.released or not self._by_owner:
            self._burials.remove(burial)
        if not burial.released:
            burial.released, burial.due = True, time.monotonic() + SECOND_LOOK
            self._control.send({"released": owner})
            logger.debug("What %s held is back", owner)
