"""Outcomes leave in batches: results stored, joins made, children sent, then the deliveries acknowledged."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from umbel.spec import BackendError, BrokerError, PublishError
from umbel.worker.joining import Joining

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from umbel.results.applike import AppLike
    from umbel.spec import Consumer, Delivery, Message, Result
    from umbel.worker.outcome import Outcome

logger = logging.getLogger("umbel.worker.settler")

FULL = 250
"""Outcomes that make a batch which does not wait for company."""
PATIENCE = 5.0
"""The most seconds between two tries to settle."""


class Settler:
    """Owns one thread. `add` is called by whoever ran a task, and wakes the thread once a batch, not once a task."""

    def __init__(
        self,
        app: AppLike,
        consumer: Callable[[], Consumer],
        *,
        idle: Callable[[], bool],
        flush_after: float,
    ) -> None:
        self._app = app
        self._consumer = consumer
        self._idle = idle
        self._flush_after = flush_after
        self._ttl = app.conf.result_expires
        backend = app.backend
        self._backend = backend
        self._fused = app.broker.settler(backend) if backend is not None else None
        self._joining = Joining(app)
        self._done: deque[Outcome] = deque()
        self._sent: set[tuple[str, str]] = set()
        """The children of the present batch that the broker has taken: another try must not send them twice."""
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._asleep = False
        self._company = False
        self._closing = False
        self._abandoned = False
        self._busy = False
        """Whether a batch is on its way."""
        self.failing = False
        """Whether the broker or the store does not take what is finished: then nothing more should be fetched."""
        self.stale = 0
        """Deliveries that were no longer ours when they were settled."""
        self._thread = threading.Thread(target=self._run, name="umbel-settler", daemon=True)

    def start(self) -> None:
        """Begin to settle."""
        self._thread.start()

    def add(self, outcome: Outcome) -> None:
        """Settle this soon: with its batch, or at once where nothing else runs."""
        done = self._done
        done.append(outcome)
        if self._asleep:
            self._asleep = False
            self._bell.put(None)
        elif self._company and (len(done) >= FULL or self._idle()):
            self._company = False
            self._bell.put(None)

    def flush(self, timeout: float) -> bool:
        """Wait until all that was added is settled, at most for `timeout` seconds; whether it is."""
        deadline = time.monotonic() + timeout
        while self._done or self._busy:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.0005)
        return True

    def close(self, timeout: float) -> bool:
        """Settle what is there, at most for `timeout` seconds; whether all was. Twice is fine."""
        self._closing = True
        self._bell.put(None)
        self._thread.join(timeout)
        self._abandoned = self._thread.is_alive()
        return not self._abandoned and not self._done

    def _run(self) -> None:
        while True:
            self._asleep = True
            if not self._done and not self._closing:
                self._bell.get()
            self._asleep = False
            self._wait_for_company()
            self._busy = True  # before they are taken: `flush` must see one or the other
            batch = self._taken()
            if batch:
                self._settle_until_done(batch)
            self._busy = False
            if not batch and self._closing:
                return

    def _wait_for_company(self) -> None:
        self._company = True
        if len(self._done) < FULL and not self._idle() and not self._closing:
            try:
                self._bell.get(timeout=self._flush_after)
            except Empty:
                pass
        self._company = False

    def _taken(self) -> list[Outcome]:
        batch: list[Outcome] = []
        done = self._done
        while done and len(batch) < 2 * FULL:
            batch.append(done.popleft())
        return batch

    def _settle_until_done(self, batch: list[Outcome]) -> None:
        """Nothing that is finished is dropped: the broker's or the store's failure is waited out."""
        pause = 0.05
        while not self._abandoned:
            try:
                self._settle(batch)
            except (BrokerError, BackendError) as exc:
                if not self.failing:
                    logger.error("%d finished task(s) cannot be settled, trying again: %s", len(batch), exc)
                self.failing = True
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, PATIENCE)
            except Exception:
                logger.exception("internal error while settling; one by one now")
                if len(batch) == 1:
                    self._bury(batch[0])
                    return
                for outcome in batch:
                    self._settle_until_done([outcome])
                return
            else:
                if self.failing:
                    logger.warning("settling works again")
                self.failing = False
                self._sent.clear()
                return

    def _bury(self, outcome: Outcome) -> None:
        try:
            self._consumer().dead_letter([outcome.delivery], "internal error while settling, see the worker's log")
        except BrokerError as exc:
            logger.error("message %s stays leased: %s", outcome.delivery.message.id, exc)

    def _settle(self, batch: Sequence[Outcome]) -> None:
        consumer = self._consumer()
        joins = [outcome for outcome in batch if outcome.joins]
        if joins:
            self._join(consumer, joins)
        results: list[tuple[Result, Delivery]] = []
        messages: list[Message] = []
        acks: list[Delivery] = []
        others: list[Outcome] = []
        forget: list[str] = []
        for outcome in batch:
            if outcome.result is not None:
                results.append((outcome.result, outcome.delivery))
            if outcome.further or outcome.joined_results:
                results.extend((result, outcome.delivery) for result in (*outcome.further, *outcome.joined_results))
            if outcome.messages or outcome.joined:
                messages += outcome.messages
                messages += outcome.joined
            if outcome.forget:
                forget.extend(outcome.forget)
            if outcome.action == "ack":
                acks.append(outcome.delivery)
            else:
                others.append(outcome)
        self._leave(consumer, results, messages, acks)
        for outcome in others:
            if outcome.action == "requeue":
                consumer.requeue([outcome.delivery], delay=outcome.delay, charge=outcome.charge)
            else:
                consumer.dead_letter([outcome.delivery], outcome.reason)
        if forget and self._backend is not None:
            self._backend.forget(forget)

    def _leave(
        self,
        consumer: Consumer,
        results: list[tuple[Result, Delivery]],
        messages: list[Message],
        acks: list[Delivery],
    ) -> None:
        if self._fused is not None:
            lost = self._fused.settle(consumer, results, messages, acks, ttl=self._ttl)
            if lost:
                self._count_stale(lost)
            return
        if results and self._backend is not None:
            self._backend.store([result for result, _ in results], ttl=self._ttl)
        if messages:
            self._publish(messages)
        if acks:
            consumer.ack(acks)

    def _publish(self, messages: Sequence[Message]) -> None:
        """Send what an earlier try to settle the same batch has not sent."""
        sent = self._sent
        left = [message for message in messages if (message.id, message.queue) not in sent]
        try:
            self._app.broker.publish(left)
        except PublishError as exc:
            failed = {id(failure.message) for failure in exc.failures}
            sent.update((message.id, message.queue) for message in left if id(message) not in failed)
            raise
        sent.update((message.id, message.queue) for message in left)

    def _join(self, consumer: Consumer, outcomes: list[Outcome]) -> None:
        """Store the members' results, let them arrive, and take over what the completed joins imply."""
        results = [(outcome.result, outcome.delivery) for outcome in outcomes if outcome.result is not None]
        if results:
            lost: Sequence[Delivery] = ()
            if self._fused is not None:
                lost = self._fused.settle(consumer, results, [], [], ttl=self._ttl)
            elif self._backend is not None:
                self._backend.store([result for result, _ in results], ttl=self._ttl)
            if lost:
                self._count_stale(lost)
                gone = {id(delivery) for delivery in lost}
                for outcome in outcomes:
                    if id(outcome.delivery) in gone:
                        outcome.joins, outcome.messages, outcome.further = (), (), ()  # of a stale worker: nothing
                outcomes = [outcome for outcome in outcomes if outcome.joins]
        self._joining.join(outcomes)

    def _count_stale(self, lost: Sequence[Delivery]) -> None:
        self.stale += len(lost)
        logger.warning(
            "%d delivery(ies) were taken from us before they were settled; their results are refused: %s",
            len(lost),
            ", ".join(delivery.message.id for delivery in lost[:5]),
        )
