"""Members of chords arrive at their barriers; whoever completes one takes the body's call with it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from umbel.canvas.steps import is_complete, on_joined
from umbel.spec import BackendError, BrokerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from umbel.canvas.steps import Join
    from umbel.results.applike import AppLike
    from umbel.worker.outcome import Outcome

logger = logging.getLogger("umbel.worker.joining")

DAY = 86400.0


class Joining:
    """Used by one settler's thread only."""

    def __init__(self, app: AppLike) -> None:
        self._app = app
        self._ttl: float = app.conf.result_chord_expires or app.conf.result_expires or DAY

    def join(self, outcomes: Sequence[Outcome]) -> None:
        """Let all joins of these arrive; what completed ones imply is added to the outcome that completed them.

        Safe to repeat: an arrival twice is one, and the children's ids are the same each time.
        """
        for outcome in outcomes:
            outcome.joined, outcome.joined_results = (), ()
        waiting = [(join, outcome) for outcome in outcomes for join in outcome.joins]
        while waiting:
            backend = self._app.backend
            if backend is None:
                raise BackendError("a chord needs a result store: set result_backend")
            sizes = backend.arrive([join.arrival for join, _ in waiting], ttl=self._ttl)
            further: list[tuple[Join, Outcome]] = []
            for (join, outcome), size in zip(waiting, sizes, strict=True):
                if is_complete(join, size):
                    further.extend((outer, outcome) for outer in self._complete(join, outcome))
            waiting = further

    def _complete(self, join: Join, outcome: Outcome) -> Sequence[Join]:
        backend = self._app.backend
        assert backend is not None
        try:
            steps = on_joined(self._app, join, backend.gather(join.arrival.barrier))
            messages = self._app.encode(steps.calls) if steps.calls else []
        except (BrokerError, BackendError):
            raise
        except Exception as exc:
            logger.exception("the body of chord %s cannot be sent", join.arrival.barrier)
            steps = on_joined(self._app, join, {}, exc)
            messages = self._app.encode(steps.calls) if steps.calls else []
        outcome.joined = [*outcome.joined, *messages]
        outcome.joined_results = [*outcome.joined_results, *steps.results]
        return steps.joins
