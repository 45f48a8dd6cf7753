"""Where a task goes."""
