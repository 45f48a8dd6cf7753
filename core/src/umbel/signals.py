"""Signals: what happens in clients and workers, for whoever wants to be told."""

from __future__ import annotations

import inspect
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

    Receiver = TypeVar("Receiver", bound=Callable[..., Any])

RETRY_STEP = 2.0
"""Seconds by which the pauses of a receiver connected with `retry=True` grow."""
RETRY_MAX = 30.0
"""The longest of these pauses."""


class _Connection:
    """One receiver, with what it listens to."""

    __slots__ = ("_receiver", "_sender", "dispatch_uid", "retry")

    def __init__(
        self, receiver: Callable[..., Any], sender: Any, weak: bool, dispatch_uid: Any, retry: bool, gone: Any
    ) -> None:
        self._receiver = _reference(receiver, weak, gone)
        self._sender = None if sender is None else _reference(sender, not isinstance(sender, (str, bytes)), gone)
        self.dispatch_uid = dispatch_uid
        self.retry = retry

    def receiver(self) -> Callable[..., Any] | None:
        """None once it has been garbage collected."""
        found: Callable[..., Any] | None = self._receiver()
        return found

    def hears(self, sender: Any) -> bool:
        """Whether what this sender sends is for it."""
        if self._sender is None:
            return True
        wanted = self._sender()
        return wanted is not None and (wanted is sender or (isinstance(wanted, (str, bytes)) and wanted == sender))

    def is_for(self, receiver: Any, sender: Any, dispatch_uid: Any) -> bool:
        """Whether connecting this again would be the same connection."""
        if (self._sender is None) != (sender is None) or (sender is not None and not self.hears(sender)):
            return False
        if dispatch_uid is not None or self.dispatch_uid is not None:
            return bool(self.dispatch_uid == dispatch_uid)
        return bool(self.receiver() == receiver)

    def is_gone(self) -> bool:
        """Whether nothing can reach the receiver any more."""
        return self._receiver() is None or (self._sender is not None and self._sender() is None)


class Signal:
    """Tells its receivers; `receivers` is empty while nobody listens, so that a hot path can ask before it sends."""

    def __init__(
        self, providing_args: set[str] | None = None, use_caching: bool = False, name: str | None = None
    ) -> None:
        self.name = name
        self.providing_args = frozenset(providing_args or ())
        """What receivers are given besides `signal` and `sender`; for people to read."""
        self.use_caching = use_caching
        """Of no effect; Celery's signature."""
        self.receivers: tuple[_Connection, ...] = ()
        self._lock = threading.RLock()
        self._sleep = time.sleep

    @overload
    def connect(self, receiver: Receiver, /) -> Receiver: ...
    @overload
    def connect(
        self,
        receiver: Receiver,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Any = None,
        retry: bool = False,
    ) -> Receiver: ...
    @overload
    def connect(
        self,
        receiver: None = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Any = None,
        retry: bool = False,
    ) -> Callable[[Receiver], Receiver]: ...
    def connect(
        self,
        receiver: Any = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Any = None,
        retry: bool = False,
    ) -> Any:
        """Call `receiver` from now on, with or without parentheses as a decorator too; returns the receiver.

        It must accept ``**kwargs``. Held weakly, unless `weak=False`: a lambda would be gone at once. The same
        receiver, or the same `dispatch_uid`, is connected once per sender. `retry`: call it until it succeeds.
        """
        if receiver is None:
            return lambda function: self.connect(function, sender, weak, dispatch_uid, retry)
        if not callable(receiver):
            raise TypeError(f"a receiver must be callable: {receiver!r}")
        if not _accepts_keywords(receiver):
            raise ValueError(f"signal receiver must accept keyword arguments: add **kwargs to {_name(receiver)}")
        connection = _Connection(receiver, sender, weak, dispatch_uid, retry, self._prune)
        with self._lock:
            if not any(present.is_for(receiver, sender, dispatch_uid) for present in self.receivers):
                self.receivers = (*self.receivers, connection)
        return receiver

    def disconnect(
        self, receiver: Any = None, sender: Any = None, weak: bool | None = None, dispatch_uid: Any = None
    ) -> bool:
        """Stop calling it; whether it was connected (for this sender, under this `dispatch_uid`)."""
        with self._lock:
            left = tuple(present for present in self.receivers if not present.is_for(receiver, sender, dispatch_uid))
            found = len(left) < len(self.receivers)
            self.receivers = left
        return found

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether anybody would be told of what this sender sends."""
        return any(present.hears(sender) and not present.is_gone() for present in self.receivers)

    def send(self, sender: Any, **named: Any) -> list[tuple[Any, Any]]:
        """Tell all receivers; pairs of receiver and response, an exception (logged) being a response too."""
        responses = []
        for present in self.receivers:
            if present.hears(sender) and (receiver := present.receiver()) is not None:
                responses.append((receiver, self._call(receiver, present.retry, sender, named)))
        return responses

    send_robust = send

    def _call(self, receiver: Callable[..., Any], retry: bool, sender: Any, named: dict[str, Any]) -> Any:
        pause = 0.0
        while True:
            try:
                return receiver(signal=self, sender=sender, **named)
            except Exception as exc:  # noqa: BLE001 - a receiver is a stranger: its error must not become the sender's
                self._report(receiver, exc)
                if not retry:
                    return exc
            pause = min(pause + RETRY_STEP, RETRY_MAX)
            self._sleep(pause)

    def _report(self, receiver: Any, exc: Exception) -> None:
        import logging  # noqa: PLC0415 - a client that never gets here need not load it

        logging.getLogger("umbel.signals").error("Signal handler %s raised: %r", _name(receiver), exc, exc_info=exc)

    def _prune(self, _gone: Any) -> None:
        with self._lock:
            self.receivers = tuple(present for present in self.receivers if not present.is_gone())

    def __repr__(self) -> str:
        return f"<Signal: {self.name or 'unnamed'} providing_args={sorted(self.providing_args)}>"


def _reference(target: Any, weak: bool, gone: Any) -> Any:
    """A callable that gives the target, or None once nobody else holds it."""
    if weak:
        try:
            if hasattr(target, "__self__") and hasattr(target, "__func__"):
                return weakref.WeakMethod(target, gone)
            return weakref.ref(target, gone)
        except TypeError:  # it cannot be held weakly
            pass
    return lambda: target


def _accepts_keywords(receiver: Any) -> bool:
    try:
        parameters = inspect.signature(receiver).parameters.values()
    except (TypeError, ValueError):  # built in: it will say so itself
        return True
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _name(receiver: Any) -> str:
    return f"{getattr(receiver, '__module__', '?')}.{getattr(receiver, '__qualname__', repr(receiver))}"


def _signal(name: str, provides: str = "") -> Signal:
    return Signal(name=name, providing_args=set(provides.split()))


# Clients: the sender is the task's name.
before_task_publish = _signal(
    "before_task_publish", "body exchange routing_key headers properties declare retry_policy"
)
after_task_publish = _signal("after_task_publish", "body headers exchange routing_key")
task_sent = _signal("task_sent", "task_id task args kwargs eta taskset")

# Tasks: the sender is the task, or the consumer where there is none.
task_received = _signal("task_received", "request")
task_prerun = _signal("task_prerun", "task_id task args kwargs")
task_postrun = _signal("task_postrun", "task_id task args kwargs retval state")
task_success = _signal("task_success", "result runtime")
task_retry = _signal("task_retry", "request reason einfo")
task_failure = _signal("task_failure", "task_id exception args kwargs traceback einfo")
task_internal_error = _signal("task_internal_error", "task_id args kwargs request exception traceback einfo")
task_revoked = _signal("task_revoked", "request terminated signum expired")
task_unknown = _signal("task_unknown", "message exc name id")
task_rejected = _signal("task_rejected", "message exc")

# Programs.
import_modules = _signal("import_modules")
user_preload_options = _signal("user_preload_options", "app options")
setup_logging = _signal("setup_logging", "loglevel logfile format colorize")
after_setup_logger = _signal("after_setup_logger", "logger loglevel logfile format colorize")
after_setup_task_logger = _signal("after_setup_task_logger", "logger loglevel logfile format colorize")

# Workers: the sender is the worker, its pool, its consumer or its name.
celeryd_init = _signal("celeryd_init", "instance conf options")
celeryd_after_setup = _signal("celeryd_after_setup", "instance conf")
worker_init = _signal("worker_init")
worker_before_create_process = _signal("worker_before_create_process")
worker_process_init = _signal("worker_process_init")
worker_process_shutdown = _signal("worker_process_shutdown", "pid exitcode")
worker_ready = _signal("worker_ready")
worker_shutting_down = _signal("worker_shutting_down", "sig how exitcode")
worker_shutdown = _signal("worker_shutdown")
heartbeat_sent = _signal("heartbeat_sent")

# Beat: the sender is its service.
beat_init = _signal("beat_init")
beat_embedded_init = _signal("beat_embedded_init")

# Celery's pool of green threads; they are here so that code that connects to them loads, and are never sent.
eventlet_pool_started = _signal("eventlet_pool_started")
eventlet_pool_preshutdown = _signal("eventlet_pool_preshutdown")
eventlet_pool_postshutdown = _signal("eventlet_pool_postshutdown")
eventlet_pool_apply = _signal("eventlet_pool_apply", "target args kwargs")

ALL = {name: value for name, value in list(globals().items()) if isinstance(value, Signal)}
"""Every signal, by name."""
