"""Where an app that was given no broker keeps its queue: one file of the project, the same for all its programs."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any
from urllib.parse import quote

FOLDER = ".umbel"
FILE = "queue.db"
_PACKAGE = __name__.partition(".")[0]


def home_of(made_by: str | None) -> str:
    """The folder: $UMBEL_HOME, else .umbel beside the file of the module that made the app, else beside nobody's.

    Never where the program happens to be run, if there is a file: a client and its worker must find the same.
    """
    given = os.environ.get("UMBEL_HOME")
    if given:
        return os.path.abspath(os.path.expanduser(given))
    beside = os.path.dirname(os.path.realpath(made_by)) if made_by else os.getcwd()
    return os.path.join(beside, FOLDER)


def default_url(home: str) -> str:
    """The URL of the queue file in this folder: three slashes, and the path's own."""
    return f"sqlite:///{quote(os.path.join(home, FILE), safe='/')}"


def maker(app: Any) -> str | None:
    """The file of the module that is making this app just now; None for an interactive session."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame, app):
        frame = frame.f_back
    file = frame.f_globals.get("__file__") if frame is not None else None
    return file if isinstance(file, str) else None


def _is_ours(frame: FrameType, app: Any) -> bool:
    """Whether it is the library, or the __init__ of a subclass of the app's."""
    if str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE:
        return True
    code = frame.f_code
    return code.co_argcount > 0 and frame.f_locals.get(code.co_varnames[0]) is app
