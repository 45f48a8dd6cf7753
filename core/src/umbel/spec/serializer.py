"""How values become bytes, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Serializer:
    """A named pair of functions. Both are called from any thread; an error names the culprit, where it can."""

    name: str
    content_type: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]
    content_encoding: str = "utf-8"
    """utf-8 for text, binary for anything else."""
    trusted: bool = False
    """Whether `loads` of a stranger's bytes is harmless. Others are refused unless `accept_content` names them."""
