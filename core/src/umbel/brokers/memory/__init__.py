"""The broker that lives in this process: the reference of the contract, and the double that tests are made with."""

from umbel.brokers.memory.broker import MemoryBroker
from umbel.brokers.memory.hub import Hub

__all__ = ["Hub", "MemoryBroker"]
