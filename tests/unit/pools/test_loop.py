"""The event loop of a process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

from umbel.pools.loop import Loop


def test_coroutines_run_side_by_side_on_a_thread_of_their_own() -> None:
    loop = Loop()
    done = threading.Event()
    seen: list[tuple[int, str]] = []

    async def start(number: int) -> None:
        await asyncio.sleep(0.01)
        seen.append((number, threading.current_thread().name))
        if len(seen) == 50:
            done.set()

    loop.submit(start, range(50))
    assert done.wait(10)
    assert {name for _, name in seen} == {"umbel-loop"}
    assert loop.close(1.0)


def test_closing_waits_for_what_runs() -> None:
    loop = Loop()
    ended = []

    async def start(number: int) -> None:
        await asyncio.sleep(0.05)
        ended.append(number)

    loop.submit(start, [1, 2])
    assert loop.close(10.0)
    assert sorted(ended) == [1, 2]
    assert loop.close(1.0)


def test_closing_cancels_what_takes_too_long() -> None:
    loop = Loop()
    began = threading.Event()
    cancelled = threading.Event()

    async def start(number: int) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    loop.submit(start, [1])
    assert began.wait(10)
    loop.close(0.05)
    assert cancelled.wait(10)


def test_asyncio_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, umbel.pools.loop as m; m.Loop().close(0); sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
