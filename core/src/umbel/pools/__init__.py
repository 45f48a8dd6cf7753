"""Where a task runs: in the main thread, on one of several threads, or on the event loop."""
