"""Sending a task: one call, or many in one publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from umbel.canvas.sending import add_child, running
from umbel.results.result import AsyncResult as Handle
from umbel.task.eager import Eager
from umbel.task.making import check_containers, make_call
from umbel.task.running import P, R

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from umbel.message.call import Call
    from umbel.task.resolving import Resolved


class Calling(Eager[P, R], Generic[P, R]):
    """A task that can be sent."""

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Send it with these arguments; returns when the broker has it. TypeError if they are not the task's."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> Handle[R]:
        """Send it, with options; OperationalError if the broker did not take it.

        When: `countdown` (seconds), `eta` and `expires` (a datetime, UTC if it has no zone, or ISO 8601; `expires`
        also seconds). Where: `queue`, `exchange`, `routing_key`, `priority` (a larger one comes first), `key`. How:
        `serializer`, `compression`, `headers`, `time_limit`, `soft_time_limit`, `ignore_result`, `task_id`, `shadow`.
        What then: `link`, `link_error`. `retry` and `retry_policy` say how often to try if the broker refuses.
        """
        if task_id is not None:
            options["task_id"] = task_id
        if producer is not None:
            options["producer"] = producer
        if link is not None:
            options["link"] = link
        if link_error is not None:
            options["link_error"] = link_error
        if shadow is not None:
            options["shadow"] = shadow
        resolved = self.resolved
        if resolved.eager:
            return self._eagerly(args, kwargs, options)
        call = self._call(args, kwargs, options, resolved)
        self.app.send((call,))
        return self._sent(call, resolved, options.get("add_to_parent", True))

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Send it from a coroutine: the loop is not blocked, and what it sends in one turn goes out together."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Handle[R]:
        """`apply_async` from a coroutine, as `adelay`."""
        resolved = self.resolved
        if resolved.eager:
            return self._eagerly(args, kwargs, options)
        call = self._call(args, kwargs, options, resolved)
        await self.app.asend((call,))
        return self._sent(call, resolved, options.get("add_to_parent", True))

    def delay_many(self, calls: Iterable[Any], **options: Any) -> list[Handle[R]]:
        """Send many calls in one publish: each a tuple or list of arguments, or a pair ``(args, kwargs)``.

        A tuple of a tuple and a dictionary is such a pair. The options are those of `apply_async`, for all of them.
        """
        if options.get("task_id") is not None:
            raise TypeError("delay_many: one task_id cannot be that of many calls")
        resolved = self.resolved
        pairs = [_pair(item) for item in calls]
        if resolved.eager:
            return [self._eagerly(args, kwargs, options) for args, kwargs in pairs]
        made = [self._call(args, kwargs, options, resolved) for args, kwargs in pairs]
        if made:
            self.app.send(made)
        add_to_parent = options.get("add_to_parent", True)
        return [self._sent(call, resolved, add_to_parent) for call in made]

    def AsyncResult(self, task_id: str, **kwargs: Any) -> Handle[R]:  # noqa: N802 - Celery's name for it
        """The handle of a call by its id."""
        return Handle(task_id, app=self.app, task_name=self.name, **kwargs)

    def _call(self, args: Any, kwargs: Any, options: dict[str, Any], resolved: Resolved) -> Call:
        check_containers(args, kwargs)
        if resolved.checks:
            self.arguments.check(args or (), kwargs)
        if resolved.shadows and options.get("shadow") is None:
            options = {**options, "shadow": self.shadow_name(args or (), kwargs or {}, options)}
        return make_call(self.name, args, kwargs, options, self.app)

    def _sent(self, call: Call, resolved: Resolved, add_to_parent: bool) -> Handle[R]:
        result: Handle[R] = Handle(call.id, None, self.name, self._app)
        if call.options.get("ignore_result", resolved.ignore_result):
            result.ignored = True
        if add_to_parent and call.parent_id is not None:
            request = running()
            if request is not None:
                add_child(request, result)
        return result

    def _eagerly(self, args: Any, kwargs: Any, options: dict[str, Any]) -> Handle[R]:
        """Run it in place of sending it, its arguments as they would arrive."""
        check_containers(args, kwargs)
        if self.resolved.checks:
            self.arguments.check(args or (), kwargs)
        serializers, name = self.app.serializers, options.get("serializer") or self.serializer or "json"
        content_type, encoding, body = serializers.dumps([list(args or ()), dict(kwargs or {})], name)
        args, kwargs = serializers.loads(body, content_type, encoding, (content_type,))
        return self.apply(args, kwargs, **options)


def _pair(item: Any) -> tuple[Any, Any]:
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], tuple) and isinstance(item[1], dict):
        return item
    if isinstance(item, (tuple, list)):
        return item, None
    raise TypeError(f"delay_many: each call is a tuple or list of its arguments, not {item!r:.100}")
