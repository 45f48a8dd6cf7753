"""`async def` tasks, on the loop of the child."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.current import current_request
from umbel.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from umbel.spec import BackendError, BrokerError
from umbel.worker.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from umbel.pools.loop import Loop
    from umbel.spec import Delivery
    from umbel.worker.outcome import Running
    from umbel.worker.trace import Tracer

MOST = 1000
"""`async def` tasks that one child runs at once."""


class AsyncRunner:
    """Starts what it is given; `ended(outcome)` is called for each, on the loop's thread."""

    def __init__(self, tracer: Tracer, loop: Loop, ended: Callable[[Outcome], None]) -> None:
        self._tracer = tracer
        self._loop = loop
        self._ended = ended
        self._share = 0.0
        """Of `async def` tasks in what was received lately."""
        self._free = list(range(MOST - 1, -1, -1))

    @property
    def active(self) -> int:
        """How many are running."""
        return MOST - len(self._free)

    def room(self) -> int:
        """How many more to fetch for the loop."""
        if self._share < 0.5:
            return 0
        return min(len(self._free), 100)

    def dispatch(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Start the coroutines among these; the others are returned."""
        ours = [delivery for delivery in deliveries if self._is_async(delivery)]
        self._share += 0.5 * (len(ours) / len(deliveries) - self._share)
        if not ours:
            return deliveries
        ours = ours[: len(self._free)]
        slots = [self._free.pop() for _ in ours]
        self._loop.submit(self._run, list(zip(ours, slots, strict=True)))
        mine = {id(delivery) for delivery in ours}
        return [delivery for delivery in deliveries if id(delivery) not in mine]

    def _is_async(self, delivery: Delivery) -> bool:
        name = delivery.message.headers.get("task")
        recipe = self._tracer.recipe(name) if isinstance(name, str) else None
        return recipe is not None and recipe.is_async

    async def _run(self, item: tuple[Delivery, int]) -> None:
        delivery, slot = item
        try:
            outcome = await self._traced(delivery, slot)
        except (BrokerError, BackendError):
            outcome = Outcome(delivery, action="requeue", charge=False, delay=1.0)
        except Exception as exc:  # noqa: BLE001 - the task is failed, never lost
            outcome = self._tracer.internal_error(delivery, exc)
        self._free.append(slot)
        self._ended(outcome)

    async def _traced(self, delivery: Delivery, slot: int) -> Outcome:
        # The page's first slots belong to the pool.
        running = self._tracer.begin(delivery, self._tracer.options.slots + slot, hard=False)
        if isinstance(running, Outcome):
            return running
        request = running.request
        token = current_request.set(request)
        try:
            value = await self._limited(running)
        except BaseException as exc:  # noqa: BLE001 - whatever a task raises is its outcome
            return self._tracer.failed(running, exc)
        else:
            return self._tracer.succeeded(running, value)
        finally:
            current_request.reset(token)

    async def _limited(self, running: Running) -> Any:
        """Await the task; both of its limits end it by cancelling."""
        request, recipe = running.request, running.recipe
        hard, soft = request.timelimit or (None, None)
        soft, hard = soft or recipe.soft_time_limit, hard or recipe.time_limit
        coroutine = recipe.call(*request.args, **request.kwargs)
        if soft is None and hard is None:
            return await coroutine
        import asyncio  # noqa: PLC0415 - loaded already: this runs on its loop

        limit = min(value for value in (soft, hard) if value is not None)
        try:
            async with asyncio.timeout(limit) as scope:
                return await coroutine
        except TimeoutError:
            if not scope.expired():
                raise
            raise (SoftTimeLimitExceeded if limit == soft else TimeLimitExceeded)(limit) from None
