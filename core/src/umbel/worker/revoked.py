"""The ids of revoked tasks, as the result store knows them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from umbel.results.revoking import REVOKED_SET, epoch_of
from umbel.spec import BackendError

if TYPE_CHECKING:
    from umbel.results.applike import AppLike

logger = logging.getLogger("umbel.worker.revoked")

INTERVAL = 1.0
"""Seconds between two looks; a task revoked less than this before it would start may still start."""


class Revoked:
    """A copy of the store's set, renewed when its epoch has changed: one small read a second otherwise."""

    def __init__(self, app: AppLike) -> None:
        self._app = app
        self._next = 0.0
        self._epoch = 0
        self.ids: frozenset[str] = frozenset()

    def refresh(self) -> None:
        """Look again, if it is time to; called by one thread."""
        now = time.monotonic()
        backend = self._app.backend
        if backend is None or now < self._next:
            return
        self._next = now + INTERVAL
        try:
            epoch = epoch_of(backend)
            if epoch != self._epoch:
                self.ids = frozenset(backend.gather(REVOKED_SET))
                self._epoch = epoch
        except BackendError as exc:
            logger.warning("the revoked tasks could not be read: %s", exc)
