"""A broker with everything that the core relies on: what it lacks is added around it, or refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from umbel.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from umbel.brokers.bodies import BodyStore
    from umbel.clock import Clock
    from umbel.spec import Broker

PRIORITIES = 10
"""Levels that Celery's API promises."""
ENORMOUS = 512 * 1024 * 1024
"""Bytes. A broker that takes bodies this large is left to refuse larger ones itself."""

# Wrappers are imported by those who need them: together they take as long as a tenth of a worker's start.


def complete(
    broker: Broker,
    *,
    delay_store: Broker | None = None,
    delay_queue: str | None = None,
    offload: str | BodyStore | None = None,
    offload_threshold: int | None = None,
    offload_ttl: float | None = None,
    clock: Clock | None = None,
) -> Broker:
    """The broker, wrapped in what it lacks; itself, if it lacks nothing. ImproperlyConfigured: that cannot be added.

    A worker given `offload` reads what others have put there, also where its own threshold would leave bodies alone.
    `delay_store` keeps delayed messages where `broker` cannot, or not for long enough; `offload` says where bodies go
    that are larger than `max_body` or than `offload_threshold`. Both are closed with the broker. What is missing
    beyond this is refused where it is used: a delay without a store, a large body without `offload`, a broadcast
    without `fan_out`, for which nothing can be done here.
    """
    capabilities = broker.capabilities
    if delay_store is not None:
        _check_store(broker, delay_store)
    if capabilities.held_by != "connection" and not capabilities.lease:
        raise ImproperlyConfigured(
            f"{type(broker).__name__} holds deliveries by {capabilities.held_by} and names no lease to renew"
        )
    # From the inside out: what is not due is sent on before it is sorted, only what is handed out is loaded, and
    # whatever is published has its queue before it is offloaded or delayed.
    if capabilities.held_by == "message":
        from umbel.brokers.leasing import LeasingBroker  # noqa: PLC0415 - see above

        broker = LeasingBroker(broker, clock=clock)
    if capabilities.max_delay != float("inf"):
        from umbel.brokers.delaying import STORE_QUEUE, DelayingBroker  # noqa: PLC0415 - see above

        queue = delay_queue or STORE_QUEUE
        broker = DelayingBroker(broker, delay_store=delay_store, store_queue=queue, clock=clock)
    if capabilities.priorities < PRIORITIES:
        from umbel.brokers.sorting import SortingBroker  # noqa: PLC0415 - see above

        broker = SortingBroker(broker, clock=clock)
    if offload is not None or (capabilities.max_body is not None and capabilities.max_body < ENORMOUS):
        from umbel.brokers.bodies import body_store  # noqa: PLC0415 - see above
        from umbel.brokers.offloading import TTL, OffloadingBroker  # noqa: PLC0415 - see above

        store = body_store(offload) if isinstance(offload, str) else offload
        ttl = TTL if offload_ttl is None else offload_ttl
        broker = OffloadingBroker(broker, store, threshold=offload_threshold, ttl=ttl, clock=clock)
    if not capabilities.exchanges:
        from umbel.brokers.binding import BindingBroker  # noqa: PLC0415 - see above

        broker = BindingBroker(broker)
    return broker


def _check_store(broker: Broker, store: Broker) -> None:
    name = type(store).__name__
    if store is broker:
        raise ImproperlyConfigured("delay_store is the broker itself")
    if store.capabilities.max_delay != float("inf"):
        raise ImproperlyConfigured(
            f"delay_store: {name} holds a message back for {store.capabilities.max_delay:g} s at most; "
            "it takes a broker that can do so for as long as is asked"
        )
    if broker.capabilities.processes and not store.capabilities.processes:
        raise ImproperlyConfigured(
            f"delay_store: no other process can reach {name}, so that no worker would ever find what is kept there"
        )
