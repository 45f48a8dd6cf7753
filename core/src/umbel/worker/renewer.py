"""Lease renewal by a thread, for a worker without an agent."""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING

from umbel.spec import BrokerError

if TYPE_CHECKING:
    from umbel.results.applike import AppLike

logger = logging.getLogger("umbel.worker.renewer")


class Renewer:
    """Owns one thread. A task that holds the GIL for a whole lease can stop it: an agent process cannot be."""

    def __init__(self, app: AppLike, owner: str) -> None:
        self._app = app
        self._owner = owner
        self._closed = threading.Event()
        capabilities = app.broker.capabilities
        self._interval = capabilities.lease / 3 if capabilities.held_by == "owner" and capabilities.lease else None
        self._thread = threading.Thread(target=self._run, name="umbel-renewer", daemon=True)

    def start(self) -> None:
        """Begin to renew, where the broker holds by owner."""
        if self._interval is not None:
            self._thread.start()

    def close(self) -> None:
        """Stop and join. Twice is fine."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        assert self._interval is not None
        wait = self._interval
        while not self._closed.wait(wait * random.uniform(0.8, 1.0)):
            try:
                self._app.broker.renew(self._owner)
                wait = self._interval
            except BrokerError as exc:
                wait = min(1.0, self._interval)
                logger.error("the lease could not be renewed, trying again in %.1f s: %s", wait, exc)
