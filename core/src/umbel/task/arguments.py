"""Checking the arguments of a call against the task's own, before anything is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_NEVER = object()
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Arguments:
    """The parameters of one function. Made once; `check` is quick for calls that are right."""

    __slots__ = ("_by_keyword", "_least", "_missing", "_most", "_name", "_open", "_signature", "_taken", "positional")

    def __init__(self, function: Callable[..., Any], name: str, *, skip: int = 0) -> None:
        """`skip`: the first parameters that are filled by whoever calls the function."""
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())[skip:]
        self._signature = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
        self._name = name
        positional = [p for p in parameters if p.kind in _POSITIONAL]
        keywords = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
        kinds = {p.kind for p in parameters}
        self.positional = tuple(p.name for p in positional)
        """The names that positional arguments get, in order."""
        required = [p.name for p in (*positional, *keywords) if p.default is inspect.Parameter.empty]
        needs_keywords = any(p.default is inspect.Parameter.empty for p in keywords)
        self._most = 1 << 30 if inspect.Parameter.VAR_POSITIONAL in kinds else len(positional)
        # Without keywords, a number of arguments decides; no number is enough where some keyword is required.
        self._least = 1 << 31 if needs_keywords else sum(p.default is inspect.Parameter.empty for p in positional)
        self._open = inspect.Parameter.VAR_KEYWORD in kinds
        nameable = [p.name for p in parameters if p.kind in (_POSITIONAL[1], inspect.Parameter.KEYWORD_ONLY)]
        self._by_keyword = frozenset(nameable)
        # What n positional arguments leave to be given by keyword, and what they leave no place for. What has no
        # keyword is never among those given.
        left: list[Any] = [name if name in self._by_keyword else _NEVER for name in required]
        places = [self.positional.index(name) if name in self.positional else len(positional) for name in required]
        self._missing = [
            frozenset(name for name, place in zip(left, places, strict=True) if place >= n)
            for n in range(len(positional) + 1)
        ]
        self._taken = [self._by_keyword & set(self.positional[:n]) for n in range(len(positional) + 1)]

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> None:
        """TypeError, in Python's words, if the function could not be called like this."""
        given = len(args)
        if not kwargs:
            if self._least <= given <= self._most:
                return
        elif given <= self._most:
            filled = min(given, len(self.positional))
            names = kwargs.keys()
            if (
                self._missing[filled] <= names
                and (names <= self._by_keyword or self._open)
                and self._taken[filled].isdisjoint(names)
            ):
                return
        try:
            self._signature.bind(*args, **(kwargs or {}))
        except TypeError as exc:
            raise TypeError(f"{self._name}(): {exc}") from None

    def rebind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], names: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Arguments of an earlier call with some of them replaced by name."""
        kept = list(args)
        merged = dict(kwargs)
        for place, name in enumerate(self.positional[: len(kept)]):
            if name in names:
                # What follows it cannot stay positional.
                merged.update(zip(self.positional[place:], kept[place:], strict=False))
                kept = kept[:place]
                break
        return kept, {**merged, **names}
