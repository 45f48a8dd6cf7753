"""The ids of revoked tasks, as the result store knows them, looked at once a second."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from umbel.results.revoking import Revocations
from umbel.spec import BackendError

if TYPE_CHECKING:
    from umbel.results.applike import AppLike

logger = logging.getLogger("umbel.worker.revoked")

INTERVAL = 1.0
"""Seconds between two looks; a task revoked less than this before it would start may still start."""


class Revoked:
    """What a child knows of revocations; `refresh` is called by one thread, `ids` read by all."""

    def __init__(self, app: AppLike) -> None:
        backend = app.backend
        self._revocations = None if backend is None else Revocations(backend)
        self._next = 0.0
        self.ids: frozenset[str] = frozenset()

    def refresh(self) -> None:
        """Look again, if it is time to."""
        now = time.monotonic()
        if self._revocations is None or now < self._next:
            return
        self._next = now + INTERVAL
        try:
            self._revocations.refresh()
        except BackendError as exc:
            logger.warning("the revoked tasks could not be read: %s", exc)
        self.ids = self._revocations.ids
