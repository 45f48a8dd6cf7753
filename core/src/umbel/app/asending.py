"""Sending from an event loop: nothing blocks it, and what one of its turns brings goes out together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from umbel.app.publishing import Policy
    from umbel.spec import Failure, Message

    Publish = Callable[[Sequence[Message], Policy], list[Failure]]


class _Request:
    """What one coroutine sends."""

    __slots__ = ("future", "messages", "policy")

    def __init__(self, messages: Sequence[Message], policy: Policy, future: asyncio.Future[list[Failure]]) -> None:
        self.messages = messages
        self.policy = policy
        self.future = future


class LoopSender:
    """The senders of one loop, on whose thread all is called.

    One publish is under way at a time, on a thread of the loop's own executor; what comes meanwhile goes with the
    next. So the order of sending is kept, and a slow broker makes for larger batches.
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._waiting: list[_Request] = []
        self._under_way = False

    async def send(self, messages: Sequence[Message], policy: Policy, loop: asyncio.AbstractEventLoop) -> list[Failure]:
        """What the broker has not taken of these."""
        request = _Request(messages, policy, loop.create_future())
        self._waiting.append(request)
        if not self._under_way:
            self._under_way = True
            loop.call_soon(self._start, loop)
        return await request.future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        # Whoever was cancelled before this point sends nothing; afterwards it may have been sent.
        waiting = [request for request in self._waiting if not request.future.done()]
        if not waiting:
            self._waiting, self._under_way = [], False
            return
        policy = waiting[0].policy
        batch = [request for request in waiting if request.policy == policy]
        self._waiting = [request for request in waiting if request.policy != policy]
        messages = [message for request in batch for message in request.messages]
        running = loop.run_in_executor(None, self._publish, messages, policy)
        running.add_done_callback(partial(self._done, loop, batch))

    def _done(self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Request], running: asyncio.Future[Any]) -> None:
        error = running.exception() if not running.cancelled() else None
        failed = {} if error or running.cancelled() else {id(failure.message): failure for failure in running.result()}
        for request in batch:
            if request.future.done():
                continue
            if running.cancelled():
                request.future.cancel()
            elif error is not None:
                request.future.set_exception(error)
            else:
                request.future.set_result([failed[id(m)] for m in request.messages if id(m) in failed])
        if self._waiting:
            loop.call_soon(self._start, loop)
        else:
            self._under_way = False
