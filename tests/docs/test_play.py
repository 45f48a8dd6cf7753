"""The runner of the documentation finds what is wrong with a page, and lets a good one pass."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import Block, PageError, agrees, blocks, commands
from tests.docs.test_docs import play

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
# A page

```python
# shop.py
price = 3
```

Words between the blocks, and a list:

- an item

  ```python
  import asyncio, shop

  await asyncio.sleep(0)
  total = shop.price * 2
  ```

```pycon
>>> total
6
>>> more = total + 1
```

```python
assert more == 7
with open("made.txt", "w") as file:
    file.write("by python\\n")
```

```console
$ export GREETING=hello
$ echo $GREETING; cat \\
    made.txt
hello
by ...
$ python -c "import shop; print(shop.price)"
3
```

<!-- exits 3 -->
```console
$ exit 3
```

<!-- in the background -->
```console
$ python -uc "import signal as s; s.pthread_sigmask(0, {15}); print('ready', 4711); s.sigwait({15})"
ready ...
```

<!-- not run: needs a planet -->
```python
raise SystemExit("run after all")
```

```json
{"a": 1}
```

```toml
a = 1
```

```text
anything
```
"""

BAD = {
    "an error in Python": ("```python\n1 / 0\n```", "ZeroDivisionError"),
    "a wrong assertion after an await": (
        "```python\nimport asyncio\nawait asyncio.sleep(0)\nassert not 1\n```",
        "AssertionError",
    ),
    "a file that cannot be imported": ("```python\n# a.py\nimport nothing_there\n```", "nothing_there"),
    "a session that goes otherwise": ("```pycon\n>>> 1 + 1\n3\n```", "does not go as shown"),
    "a command that fails": ("```console\n$ false\n```", "exits 1, not 0"),
    "a command that should fail": ("<!-- exits 2 -->\n```console\n$ true\n```", "exits 0, not 2"),
    "other output": ("```console\n$ echo one\ntwo\n```", "should print\ntwo"),
    "a failing script": ("```bash\nfalse\ntrue\n```", "exits 1"),
    "bad JSON": ("```json\n{,}\n```", "JSONDecodeError"),
    "bad TOML": ("```toml\na =\n```", "TOMLDecodeError"),
    "no reason": ("<!-- not run -->\n```python\n```", "needs a reason"),
    "no language": ("```\nx\n```", "language ''"),
    "no end": ("```python\nx = 1", "does not end"),
    "a background that ends": (
        "<!-- in the background -->\n```console\n$ true\n```\n```console\n$ sleep 0.3\n```",
        "ended by itself",
    ),
    "a warning": ("```python\nimport warnings\nwarnings.warn('old')\n```", "UserWarning: old"),
}


def test_a_good_page_passes_and_is_run_in_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(GOOD)
    assert play(page, tmp_path) == (0, "10 blocks run, 1 not run\n")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_page_fails_and_says_where(name: str, tmp_path: Path) -> None:
    text, complaint = BAD[name]
    page = tmp_path / "page.md"
    page.write_text(text)
    status, output = play(page, tmp_path)
    assert status != 0
    assert complaint in output
    assert "page.md" in output


def test_a_traceback_names_the_line_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Words.\n\n```python\nx = 1\nraise ValueError(x)\n```\n")
    assert f'File "{page}", line 5' in play(page, tmp_path)[1]


@pytest.mark.parametrize(
    ("expected", "actual", "answer"),
    [
        ("one\n", "one\n", True),
        ("one\n", "two\n", False),
        ("one\n", "one\ntwo\n", False),
        ("one\n...\n", "one\ntwo\nthree\n", True),
        ("...\nthree\n", "one\ntwo\nthree\n", True),
        ("one\n...\n", "one\n", True),
        ("took ... s\n", "took 1.25 s\n", True),
        ("took ... s\n", "took 1.25\n s\n", False),
        ("a.b\n", "axb\n", False),
        ("red\n", "\x1b[31mred\x1b[0m  \n", True),
    ],
)
def test_output_agrees_line_by_line_but_for_the_dots(expected: str, actual: str, answer: bool) -> None:
    assert agrees(expected, actual) is answer


def test_only_the_comments_just_before_a_block_belong_to_it() -> None:
    page = dedent("""\
        <!-- not run: far away -->
        Words.

        <!-- exits 1 -->

        ~~~python
        ```
        ~~~
        """)
    assert list(blocks(page)) == [Block("python", 7, "```", status=1)]


def test_a_console_block_begins_with_a_command() -> None:
    with pytest.raises(PageError, match="line 5"):
        commands(Block("console", 5, "output\n$ late"))
