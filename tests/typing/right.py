"""What type checkers must make of right calls; `test_typing.py` runs them over this file, and never imports it."""

from __future__ import annotations

from typing import Any, assert_type

from umbel import AsyncResult, Celery, Task, Umbel, current_app, current_task, shared_task

app = Umbel("typing")


@app.task
def add(x: int, y: int = 2) -> int:
    return x + y


@app.task(queue="slow", max_retries=5)
def shout(text: str, *, times: int = 1) -> str:
    return text.upper() * times


@app.task(bind=True, autoretry_for=(OSError,))
def whoami(self: Task[Any, Any], suffix: str) -> str:
    return f"{self.request.id}{suffix}"


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(bind=True)
async def fetch_bound(self: Task[Any, Any], url: str) -> bytes:
    return url.encode()


@shared_task
def shared(x: int) -> list[int]:
    return [x]


@shared_task(bind=True, name="other")
def shared_bound(self: Any, x: int) -> list[int]:
    return [x]


class Halve(Task[[int], float]):
    name = "halve"

    def run(self, x: int) -> float:
        return x / 2

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.update_state(state="HALVED", meta={"args": args})


halve = app.register_task(Halve())


def anything(*args: Any, **kwargs: Any) -> None: ...


# Called as a function.
assert_type(add(1), int)
assert_type(shout("a", times=2), str)
assert_type(whoami("!"), str)
assert_type(shared(1), list[int])

# Sent.
assert_type(add.delay(1, y=3), AsyncResult[int])
assert_type(add.delay(1).get(timeout=1), int)
assert_type(shout.delay("a", times=2), AsyncResult[str])
assert_type(whoami.delay("!"), AsyncResult[str])
assert_type(fetch.delay("u"), AsyncResult[bytes])
assert_type(fetch_bound.delay("u"), AsyncResult[bytes])
assert_type(shared.delay(1), AsyncResult[list[int]])
assert_type(shared_bound.delay(1), AsyncResult[list[int]])
assert_type(add.apply_async((1, 2), countdown=3), AsyncResult[int])
assert_type(add.delay_many([(1, 2), (3,)]), list[AsyncResult[int]])
assert_type(add.AsyncResult("id"), AsyncResult[int])
assert_type(add.apply((1,)).get(), int)
assert_type(app.task(anything).delay(1, x=2), AsyncResult[None])


async def main() -> None:
    assert_type(await add.adelay(1), AsyncResult[int])
    assert_type(await (await add.adelay(1)), int)
    assert_type(await add.delay(1), int)
    assert_type(await fetch("u"), bytes)
    assert_type(await fetch_bound("u"), bytes)
    assert_type(await fetch.adelay("u"), AsyncResult[bytes])


# A class of one's own.
assert_type(halve, Halve)
assert_type(app.register_task(Halve), Halve)
assert_type(halve.delay(3), AsyncResult[float])
assert_type(halve(3), float)

# The app.
assert_type(Celery("x"), Umbel)
assert_type(current_app.main, str | None)
assert_type(current_task.request.retries, int)
assert_type(app.send_task("name", (1,)), AsyncResult[Any])
