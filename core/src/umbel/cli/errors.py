"""Errors as one line, with the fix, instead of a traceback."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from umbel.exceptions import UmbelError
from umbel.spec import BackendError, BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def one_line() -> Iterator[None]:
    """Print the library's own errors as one line to stderr and exit with 1; UMBEL_TRACEBACK=1 shows where from."""
    try:
        yield
    except (UmbelError, BrokerError, BackendError) as exc:
        if os.environ.get("UMBEL_TRACEBACK"):
            raise
        text = " ".join(str(exc).split()) or type(exc).__name__
        click.echo(f"{click.style('error:', fg='red', bold=True)} {text}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # `umbel queues | head` is no error; and Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
