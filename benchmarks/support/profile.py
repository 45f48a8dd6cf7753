"""py-spy's raw stacks as shares by module and by function."""

from __future__ import annotations

import re
from collections import Counter

from support.figures import table

_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>.*?)(?::\d+)?\)$")


def breakdown(raw: str, *, leave_out: str, top: int = 25) -> str:
    """Two tables: time in each module of umbel with what it calls outside of it, and in each function itself.

    Only stacks with a frame of umbel count, and none that goes through a function named `leave_out`.
    """
    modules: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_split(frame) for frame in stack.split(";")]
        if any(function == leave_out for function, _ in frames):
            continue
        ours = next((file for _, file in reversed(frames) if file.startswith("umbel/")), None)
        if ours is None:
            continue
        modules[ours] += int(count)
        function, file = frames[-1]
        functions[f"{file}: {function}"] += int(count)
    total = sum(modules.values())
    if not total:
        return "no samples"
    parts = []
    for title, counter in (("module, with its calls outside of umbel", modules), ("function itself", functions)):
        rows = [[name, f"{100 * count / total:.1f} %"] for name, count in counter.most_common(top)]
        parts.append(table([title, "share"], rows))
    return f"{total} samples\n" + "\n\n".join(parts)


def _split(frame: str) -> tuple[str, str]:
    match = _FRAME.match(frame)
    if match is None:
        return frame, ""
    file = match["file"]
    for root in ("/src/umbel/", "/site-packages/umbel/"):
        if root in file:
            file = "umbel/" + file.split(root, 1)[1]
    return match["function"], re.sub(r"^.*/python3\.\d+/", "", file)
