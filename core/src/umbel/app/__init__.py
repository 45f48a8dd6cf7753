"""The application: its settings, its tasks, and the way that their calls take to the broker."""
