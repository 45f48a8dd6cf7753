"""Code that uses Umbel, which mypy must accept, and refuse where it says so."""
