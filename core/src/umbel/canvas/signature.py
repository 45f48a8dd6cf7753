"""A task's call, not yet made: what it is called with, and how."""

from __future__ import annotations

import copy
from functools import partial
from itertools import chain as _flattened
from typing import TYPE_CHECKING, Any, ClassVar, cast

from umbel.canvas.compiling import freeze_ids, listed
from umbel.canvas.compose import compose
from umbel.canvas.plan import compiler_of, handle
from umbel.canvas.sending import apply_async
from umbel.message.ids import new_id
from umbel.results.reading import app_of
from umbel.results.result import AsyncResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from umbel.results.applike import AppLike

_IMMUTABLE = ("group_id", "stamped_headers")
"""Options that stay once they are there, as do the stamps that the second one names."""


class _Item:
    """One of the dictionary's keys, as an attribute."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = name

    def __get__(self, sig: Signature | None, owner: type | None = None) -> Any:
        return self if sig is None else sig[self._key]

    def __set__(self, sig: Signature, value: Any) -> None:
        sig[self._key] = value


class Signature(dict[str, Any]):
    """A dictionary of six keys, which is what travels; with the methods of a call that can still be changed."""

    TYPES: ClassVar[dict[str, type[Any]]] = {}
    """The classes by `subtask_type`."""

    _app: AppLike | None = None
    _type: Any = None

    task = _Item()
    args = _Item()
    kwargs = _Item()
    options = _Item()
    subtask_type = _Item()
    immutable = _Item()

    def __init__(
        self,
        task: Any = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: AppLike | None = None,
        **ex: Any,
    ) -> None:
        self._app = app
        if isinstance(task, dict):
            super().__init__(task)  # another signature, or its wire form
            return
        self._type = type
        if task is not None and not isinstance(task, str):
            self._type = task
            if app is None:
                self._app = getattr(task, "app", None)
            task = task.name
        super().__init__(
            task=task,
            args=tuple(args or ()),
            kwargs=dict(kwargs or ()),
            options={**(options or {}), **ex},
            subtask_type=subtask_type,
            immutable=immutable,
        )

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[type[Any]], type[Any]]:
        """Make the decorated class the one for a `subtask_type`."""

        def register(subclass: type[Any]) -> type[Any]:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: AppLike | None = None) -> Any:
        """The signature of a wire form, of the class for its `subtask_type`."""
        target = cls.TYPES.get(d.get("subtask_type") or "")
        if target is not None and target is not cls:
            return target.from_dict(d, app=app)
        return Signature(dict(d), app=app)

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The task's name."""
        return cast("str", self["task"])

    @property
    def id(self) -> str | None:
        """The id that the task will have; None until it is frozen, or given one."""
        return cast("str | None", self["options"].get("task_id"))

    @property
    def parent_id(self) -> str | None:
        """The id of the task that sends it."""
        return cast("str | None", self["options"].get("parent_id"))

    @property
    def root_id(self) -> str | None:
        """The id of the first task of its workflow."""
        return cast("str | None", self["options"].get("root_id"))

    @property
    def app(self) -> AppLike:
        """The app given, else the task's, else the current one."""
        return app_of(self._app)

    @property
    def type(self) -> Any:
        """The task itself; NotRegistered where this process does not know it."""
        return self._type or self.app.tasks[self["task"]]

    @property
    def AsyncResult(self) -> Callable[[str], AsyncResult[Any]]:  # noqa: N802 - Celery's name for it
        """Makes the handle of a task with an id."""
        return partial(AsyncResult, app=self._app, task_name=self["task"])

    # -- calling -----------------------------------------------------------------------------------------------------

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Run the task here and now, as a function."""
        args, kwargs, _ = self._merge(partial_args, partial_kwargs, None)
        return self.type(*args, **kwargs)

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Send it, with further arguments before its own."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send it in one round trip, with further arguments before its own and further options; its handle."""
        if route_name is not None:
            options["route_name"] = route_name
        return apply_async(self, args, kwargs, options)

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it here and now, as a task: an EagerResult."""
        args, kwargs, options = self._merge(args, kwargs, options)
        return self.type.apply(args, kwargs, **options)

    def __invert__(self) -> Any:
        """Send it and wait for its value."""
        return self.apply_async().get()

    # -- changing ----------------------------------------------------------------------------------------------------

    def _merge(
        self,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
        force: bool = False,
    ) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
        mine: dict[str, Any] = self["options"]
        merged = dict(mine)
        if options:
            fixed = {name for name in _IMMUTABLE if mine.get(name)}
            fixed.update(mine.get("stamped_headers") or () if fixed else ())
            merged.update({name: value for name, value in options.items() if name not in fixed or name not in mine})
        if self["immutable"] and not force:
            return tuple(self["args"]), dict(self["kwargs"]), merged
        return (*(args or ()), *self["args"]), {**self["kwargs"], **(kwargs or {})}, merged

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **opts: Any) -> Any:
        """A copy, with further arguments before its own, and further options."""
        args, kwargs, options = self._merge(args, kwargs, opts)
        return self._like(args=args, kwargs=kwargs, options=copy.deepcopy(options))

    partial = clone

    def _like(self, **items: Any) -> Any:
        made = Signature.from_dict({**self, **items}, app=self._app)
        made._type = self._type
        return made

    def replace(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """A copy with these in place of its own."""
        made = self.clone()
        if args is not None:
            made["args"] = tuple(args)
        if kwargs is not None:
            made["kwargs"] = dict(kwargs)
        if options is not None:
            made["options"] = dict(options)
        return made

    def set(self, immutable: bool | None = None, **options: Any) -> Any:
        """Set options, here; the signature itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self["options"].update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Whether arguments are frozen, so that what comes before has no say in them."""
        self["immutable"] = immutable

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Put a value into an option that is a list, unless it is there; the value."""
        items = self["options"][key] = listed(self["options"].get(key))
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Put one value, or several, behind an option that is a list."""
        items = self["options"][key] = listed(self["options"].get(key))
        items.extend(listed(value))

    def link(self, callback: Any) -> Any:
        """Call this one with the task's value; the callback."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Call this one if the task fails; the errback."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Any:
        """The same as `link_error`; the signature itself."""
        self.link_error(errback)
        return self

    def flatten_links(self) -> list[Any]:
        """The signature itself, its callbacks, theirs, and so on."""
        links = (maybe_signature(link, self._app).flatten_links() for link in listed(self["options"].get("link")))
        return [self, *_flattened.from_iterable(links)]

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Fix the ids of everything in it, here; the handle that a call will return. Ids that it has stay."""
        app = self.app
        reply_to = getattr(app, "thread_oid", None)
        freeze_ids(self, new_id, _id, {"reply_to": reply_to, "root_id": root_id, "parent_id": parent_id})
        end = self._answering()
        for key, value in (("group_id", group_id), ("chord", chord), ("group_index", group_index)):
            if value is not None and (key != "group_id" or not end["options"].get(key)):
                end["options"][key] = value
        return handle(compiler_of(app, new_id).compile(self), app)

    _freeze = freeze

    def _answering(self) -> Signature:
        """The one whose value is the whole's."""
        return self

    # -- composing ---------------------------------------------------------------------------------------------------

    def __or__(self, other: Any) -> Any:
        """Run the other one with this one's value."""
        return compose(self, other) if isinstance(other, Signature) else NotImplemented

    __ior__ = __or__  # a dictionary's own would mix the two up

    def __ror__(self, other: Any) -> Any:
        # Declining would leave it to the dictionary on the left, which would mix the two up.
        raise TypeError(f"a {type(other).__name__} cannot be followed by a task; is it a signature? (task.s(...))")

    def __reduce__(self) -> tuple[Any, ...]:
        return signature, (dict(self),)

    def __deepcopy__(self, memo: Any) -> Any:
        return self._like(**copy.deepcopy(dict(self), memo))

    def __json__(self) -> dict[str, Any]:
        return dict(self)

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """How the call would look in Python."""
        args, kwargs, _ = self._merge(args, kwargs, {}, force=True)
        shown = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        return f"{self['task']}({', '.join(shown)})"

    def __repr__(self) -> str:
        return self.reprcall()


def signature(varies: Any, *args: Any, **kwargs: Any) -> Any:
    """The signature of a task, a name or a wire form; of a signature, a copy."""
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, dict):
        return Signature.from_dict(varies, app=kwargs.get("app"))
    return Signature(varies, *args, **kwargs)


def maybe_signature(d: Any, app: AppLike | None = None, clone: bool = False) -> Any:
    """A wire form as a signature; a signature, or anything else, as it is."""
    if isinstance(d, Signature):
        d = d.clone() if clone else d
    elif isinstance(d, dict):
        d = signature(d)
    else:
        return d
    if app is not None:
        d._app = app
    return d
