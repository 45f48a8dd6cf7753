"""What `|` makes, case by case."""

from typing import Any

import pytest

from umbel.canvas.chain import chain
from umbel.canvas.chord import chord
from umbel.canvas.compiling import kind_of
from umbel.canvas.group import group
from umbel.canvas.signature import Signature


def shown(sig: Any) -> str:
    kind = kind_of(sig)
    if kind == "chain":
        return f"chain({', '.join(map(shown, sig.tasks))})"
    if kind == "group":
        return f"group[{', '.join(map(shown, sig.tasks))}]"
    if kind == "chord":
        return f"chord([{', '.join(map(shown, sig.tasks))}] -> {shown(sig.body)})"
    return str(sig.task)


def t(name: str) -> Signature:
    return Signature(name)


def left() -> dict[str, Any]:
    return {
        "task": t("a"),
        "chain": chain.of([t("a1"), t("a2")]),
        "group": group([t("a1"), t("a2")]),
        "group(1)": group([t("a1")]),
        "group()": group([]),
        "chain..group": chain.of([t("a0"), group([t("a1"), t("a2")])]),
        "chain..chord": chain.of([t("a0"), chord([t("a1"), t("a2")], t("ab"))]),
        "chord": chord([t("a1"), t("a2")], t("ab")),
        "chord(body=group)": chord([t("a1"), t("a2")], group([t("ab"), t("ac")])),
    }


def right() -> dict[str, Any]:
    return {
        "task": t("z"),
        "chain": chain.of([t("z1"), t("z2")]),
        "group": group([t("z1"), t("z2")]),
        "group(1)": group([t("z1")]),
        "group()": group([]),
        "chain..group": chain.of([t("z0"), group([t("z1"), t("z2")])]),
        "chain..chord": chain.of([t("z0"), chord([t("z1"), t("z2")], t("zb"))]),
        "chord": chord([t("z1"), t("z2")], t("zb")),
    }


MATRIX = """
task | task => chain(a, z)
task | chain => chain(a, z1, z2)
task | group => chain(a, group[z1, z2])
task | group(1) => chain(a, z1)
task | group() => chain(a, group[])
task | chain..group => chain(a, z0, group[z1, z2])
task | chord => chain(a, chord([z1, z2] -> zb))
chain | task => chain(a1, a2, z)
chain | chain => chain(a1, a2, z1, z2)
chain | group => chain(a1, a2, group[z1, z2])
chain | group(1) => chain(a1, a2, z1)
chain | group() => chain(a1, a2)
chain | chord => chain(a1, a2, chord([z1, z2] -> zb))
group | task => chord([a1, a2] -> z)
group | chain => chord([a1, a2] -> chain(z1, z2))
group | group => chord([a1, a2] -> group[z1, z2])
group | group(1) => chord([a1, a2] -> group[z1])
group | group() => group[a1, a2]
group | chord => chord([a1, a2] -> chord([z1, z2] -> zb))
group(1) | task => chord([a1] -> z)
group(1) | group => chord([a1] -> group[z1, z2])
group() | task => chord([] -> z)
chain..group | task => chain(a0, chord([a1, a2] -> z))
chain..group | chain => chain(a0, chord([a1, a2] -> chain(z1, z2)))
chain..group | group => chain(a0, group[a1, a2], group[z1, z2])
chain..group | group(1) => chain(a0, chord([a1, a2] -> z1))
chain..group | group() => chain(a0, group[a1, a2])
chain..group | chain..group => chain(a0, chord([a1, a2] -> chain(z0, group[z1, z2])))
chain..group | chain..chord => chain(a0, chord([a1, a2] -> z0), chord([z1, z2] -> zb))
chain..group | chord => chain(a0, chord([a1, a2] -> chord([z1, z2] -> zb)))
chain..chord | task => chain(a0, chord([a1, a2] -> chain(ab, z)))
chain..chord | chain => chain(a0, chord([a1, a2] -> chain(ab, z1, z2)))
chain..chord | group => chain(a0, chord([a1, a2] -> chain(ab, group[z1, z2])))
chain..chord | group() => chain(a0, chord([a1, a2] -> ab))
chain..chord | chord => chain(a0, chord([a1, a2] -> ab), chord([z1, z2] -> zb))
chain..chord | chain..chord => chain(a0, chord([a1, a2] -> chain(ab, z0)), chord([z1, z2] -> zb))
chord | task => chord([a1, a2] -> chain(ab, z))
chord | chain => chain(chord([a1, a2] -> ab), z1, z2)
chord | group => chain(chord([a1, a2] -> ab), group[z1, z2])
chord | group(1) => chord([a1, a2] -> chain(ab, z1))
chord | group() => chain(chord([a1, a2] -> ab), group[])
chord | chord => chord([a1, a2] -> chain(ab, chord([z1, z2] -> zb)))
chord(body=group) | task => chord([a1, a2] -> chord([ab, ac] -> z))
chord(body=group) | chord => chord([a1, a2] -> chord([ab, ac] -> chord([z1, z2] -> zb)))
""".strip().splitlines()


@pytest.mark.parametrize("case", MATRIX)
def test_the_matrix(case: str) -> None:
    operands, _, wanted = case.partition(" => ")
    first, _, second = operands.partition(" | ")
    before = shown(left()[first])
    one, other = left()[first], right()[second]
    assert shown(one | other) == wanted
    assert shown(one) == before, "the left operand was changed"


@pytest.mark.parametrize("case", MATRIX)
def test_chain_of_two_is_what_the_operator_makes(case: str) -> None:
    operands, _, wanted = case.partition(" => ")
    first, _, second = operands.partition(" | ")
    if case.startswith("task | group()"):
        wanted = "chain(a)"  # behind a chain, be it of one, an empty group is nothing
    assert shown(chain(left()[first], right()[second])) == wanted


def test_in_place_it_behaves_the_same() -> None:
    sig = t("a")
    sig |= t("z")
    assert shown(sig) == "chain(a, z)"


def test_chains_of_one_and_of_none() -> None:
    assert shown(chain(t("a"))) == "chain(a)"
    assert shown(chain([t("a")])) == "chain(a)"
    assert shown(chain()) == "chain()"
    assert shown(chain(t(name) for name in "abc")) == "chain(a, b, c)"


def test_a_chain_of_several_is_folded() -> None:
    p, q, one, none = t("p"), t("q"), group([t("a")]), group([])
    two, other = group([t("a"), t("b")]), group([t("y"), t("z")])
    assert shown(chain(two, q)) == "chord([a, b] -> q)"
    assert shown(chain(two, other)) == "chord([a, b] -> group[y, z])"
    assert shown(chain(two, other, q)) == "chord([a, b] -> chord([y, z] -> q))"
    assert shown(chain(p, two, other, q)) == "chain(p, group[a, b], chord([y, z] -> q))"
    assert shown(chain(p, one, q)) == "chain(p, a, q)"
    assert shown(chain(p, none, q)) == "chain(p, q)"


def test_with_options_nothing_is_folded() -> None:
    sig = chain(group([t("a"), t("b")]), t("q"), queue="fast")
    assert shown(sig) == "chain(group[a, b], q)"
    assert sig.options == {"queue": "fast"}


def test_the_rightmost_signature_is_used_as_it_is_and_the_left_one_copied() -> None:
    a, z = t("a"), t("z")
    sig = a | z
    assert sig.tasks[1] is z
    assert sig.tasks[0] is not a


def test_a_long_chain_is_made_in_linear_time() -> None:
    sig = chain(*(t("a") for _ in range(2000)))
    assert len(sig.tasks) == 2000


def test_what_is_no_signature_cannot_be_composed() -> None:
    with pytest.raises(TypeError):
        t("a") | 3
    with pytest.raises(TypeError):
        {} | t("a")


def test_unchaining_gives_the_last_task_the_callback_and_each_the_errback() -> None:
    sig = chain(t("a"), t("b"))
    sig.link(t("done"))
    sig.link_error(t("failed"))
    first, last = sig.unchain_tasks()
    assert first.options == {"link_error": [t("failed")]}
    assert last.options == {"link": [t("done")], "link_error": [t("failed")]}
    assert sig.tasks[0].options == {}
