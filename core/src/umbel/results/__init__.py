"""A task's result, awaited: by one, by many, by a group."""
