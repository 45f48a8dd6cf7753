"""An app with a memory store, for handles to ask; `finish` does what a worker would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from umbel.backends.memory import MemoryBackend
from umbel.results.codec import encode_failure, encode_value
from umbel.results.failure import ExceptionTypes
from umbel.results.result import AsyncResult
from umbel.results.waiter import Waiter
from umbel.serialization.registry import Serializers
from umbel.spec import Result
from umbel.states import EXCEPTION_STATES, READY_STATES, SUCCESS


class Desk:
    """What handles ask of an app."""

    def __init__(self) -> None:
        self.main = "desk"
        self.conf = SimpleNamespace(
            result_serializer="json", accept_content=["json"], result_accept_content=None, result_expires=86400.0
        )
        self.serializers = Serializers()
        self.exception_types = ExceptionTypes()
        self.backend: Any = MemoryBackend()
        self.waiter = Waiter(self.backend)
        self.thread_oid = "desk"
        self.tasks: dict[str, Any] = {}

    def finish(self, id: str, value: Any = None, state: str = SUCCESS, **meta: Any) -> None:
        """Store a state, final or not."""
        encode = encode_failure if state in EXCEPTION_STATES else encode_value
        body, content_type = encode(self.serializers, value, "json")
        final = state in READY_STATES
        result = Result(id=id, state=state, body=body, content_type=content_type, terminal=final, meta=meta)
        self.backend.store([result], ttl=None)

    def result(self, id: str, **kwargs: Any) -> AsyncResult[Any]:
        return AsyncResult(id, app=self, **kwargs)  # type: ignore[arg-type]


class Deaf(dict[str, Any]):
    """In place of a hub's listeners: nobody is told of anything."""

    def __contains__(self, key: object) -> bool:
        return False


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What the condition says, once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.001)
    return found


def threads(count: int, function: Callable[[int], Any]) -> list[threading.Thread]:
    """So many threads, started."""
    started = [threading.Thread(target=function, args=(number,)) for number in range(count)]
    for thread in started:
        thread.start()
    return started
