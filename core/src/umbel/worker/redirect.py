"""What tasks print becomes log lines."""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import Any, TextIO

LONGEST = 10_000
"""Characters of a line that has not ended, after which it is logged as it is."""


class LoggedStream(io.TextIOBase):
    """A text stream whose lines are logged. Threads do not mix their lines."""

    def __init__(self, logger: logging.Logger, level: int, original: TextIO) -> None:
        self._logger = logger
        self._level = level
        self._original = original
        self._local = threading.local()

    def write(self, text: str) -> int:
        """Log each line that has ended."""
        local: Any = self._local
        if getattr(local, "logging", False):  # a handler that prints to where it is logged from
            return self._original.write(text)
        *lines, rest = (getattr(local, "rest", "") + text).split("\n")
        if len(rest) > LONGEST:
            lines, rest = [*lines, rest], ""
        local.rest = rest
        local.logging = True
        try:
            for line in lines:
                if line.strip():
                    self._logger.log(self._level, "%s", line.rstrip("\r"))
        finally:
            local.logging = False
        return len(text)

    def fileno(self) -> int:
        """The original's: what other programs print is not logged."""
        return self._original.fileno()

    def isatty(self) -> bool:
        """Never: nothing here is for a terminal."""
        return False

    def writable(self) -> bool:
        """Always."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The original's."""
        return getattr(self._original, "encoding", None) or "utf-8"


def redirect_stdouts(level: int) -> None:
    """Log what is printed in this process from now on, to standard output as to standard error, at this level."""
    logger = logging.getLogger("umbel.redirected")
    sys.stdout = LoggedStream(logger, level, sys.stdout)
    sys.stderr = LoggedStream(logger, level, sys.stderr)
