"""Transports that need nothing but Python, and the wrappers that make up for what a transport lacks."""
