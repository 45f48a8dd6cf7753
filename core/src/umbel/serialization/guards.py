"""How deep values may nest."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 100
"""Containers within containers that a message may have: what nests deeper exhausts the stack of whoever reads it."""
_CONTAINERS = (dict, list, tuple)


def may_nest_deeper(data: bytes, limit: int) -> bool:
    """False if JSON text cannot nest deeper than `limit`, for it has no more brackets than that; quick."""
    return data.count(b"[") + data.count(b"{") > limit


def nests_deeper(value: Any, limit: int) -> bool:
    """Whether containers nest deeper than `limit`; as quick where something is in many places, or contains itself."""
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(limit):
        if not level:
            return False
        inner = {
            id(child): child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, _CONTAINERS)
        }
        level = list(inner.values())
    return bool(level)
