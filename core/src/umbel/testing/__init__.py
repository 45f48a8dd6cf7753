"""What a project's own tests need: a worker inside the test's process."""

from umbel.testing.worker import start_worker

__all__ = ["start_worker"]
