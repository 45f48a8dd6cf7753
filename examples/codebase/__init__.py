"""A real job: measure every file of a code base, one task per file, and report on the whole."""
