"""What a plugin author has to know of Umbel, and nothing else.

The hooks are in `umbel.spec.hooks`, apart, so that an application that sends tasks does not import pluggy.
"""

from umbel.spec.backend import (
    Arrival,
    BackendError,
    Result,
    ResultBackend,
    Watcher,
)
from umbel.spec.broker import (
    DEATH,
    Binding,
    Broker,
    BrokerError,
    Capabilities,
    Consumer,
    Delivery,
    Failure,
    Fatal,
    Message,
    PublishError,
    Queue,
    QueueStats,
    Settler,
    Subscription,
    Unsupported,
    buried,
)
from umbel.spec.router import Router
from umbel.spec.serializer import Serializer

VERSION = 1
"""The version of this contract. A plugin declares the one it was written for as ``UMBEL_SPEC`` in its module."""

__all__ = [
    "DEATH",
    "VERSION",
    "Arrival",
    "BackendError",
    "Binding",
    "Broker",
    "BrokerError",
    "Capabilities",
    "Consumer",
    "Delivery",
    "Failure",
    "Fatal",
    "Message",
    "PublishError",
    "Queue",
    "QueueStats",
    "Result",
    "ResultBackend",
    "Router",
    "Serializer",
    "Settler",
    "Subscription",
    "Unsupported",
    "Watcher",
    "buried",
]
