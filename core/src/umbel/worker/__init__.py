"""The worker: a supervisor, an agent, and children that each are a whole worker."""
