"""Words become values, and values the words that say them again."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.planning.errors import SettingsError, in_short
from benchmark.planning.request import ask
from benchmark.planning.words import Assignment, assignment_of, seeds_of, sweep_of, value_of, word_of


@pytest.mark.parametrize(
    ("text", "wanted"), [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("7,0-2", (7, 0, 1, 2)), ("10001,20002", (10001, 20002))]
)
def test_seeds(text: str, wanted: tuple[int, ...]) -> None:
    assert seeds_of(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "a", "1,", "-1", "0-", "1-a", "1,1", "0-2,1", "3-1", "1.5", " ", "1;2", "0,3-1", "²"]
)
def test_what_is_no_list_of_seeds(text: str) -> None:
    with pytest.raises(SettingsError, match=r"write [0-9]"):
        seeds_of(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("fql.alpha=10", ("fql", "alpha", 10)),
        ("fql.alpha=1e-3", ("fql", "alpha", 1e-3)),
        ("run.sparse=true", ("run", "sparse", True)),
        ("run.actor_widths=[8, 8]", ("run", "actor_widths", (8, 8))),
        ("run.word=hello", ("run", "word", "hello")),
        ('run.word="a=b"', ("run", "word", "a=b")),
        ("run.word=a.b=c", ("run", "word", "a.b=c")),
        ("run.online_steps=1e6", ("run", "online_steps", 1_000_000)),
        ("run.online_steps=1.5e6", ("run", "online_steps", 1_500_000)),
        ("run.widths=[1e2,.5]", ("run", "widths", (100, 0.5))),
        ("run.discount=.001", ("run", "discount", 0.001)),
        ("run.discount=-.5", ("run", "discount", -0.5)),
        ("run.discount=1.", ("run", "discount", 1.0)),
        ("run.learning_rate=3e-4", ("run", "learning_rate", 3e-4)),
        ("run.sparse=True", ("run", "sparse", True)),
        ("run.sparse=False", ("run", "sparse", False)),
        ("run.word=2020-01-01", ("run", "word", "2020-01-01")),
        ("run.word='1e6'", ("run", "word", "1e6")),
    ],
)
def test_a_value_is_read_as_toml_or_as_a_word(text: str, wanted: tuple[str, str, Any]) -> None:
    found = assignment_of(text)
    assert (found.owner, found.key, found.value) == wanted
    assert type(found.value) is type(wanted[2])


@pytest.mark.parametrize("text", ["", "alpha=1", "fql.alpha", "fql.=1", ".alpha=1", "fql.alpha=", "=", "fql=1.0"])
def test_a_setting_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"METHOD\.KEY=VALUE"):
        assignment_of(text)


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
VALUES = NUMBERS | st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1) | st.tuples(NUMBERS, NUMBERS)


@given(VALUES)
def test_a_value_is_said_as_it_is_read(value: Any) -> None:
    """What a pack's command line says is the value that the pack was planned with."""
    again = assignment_of(str(Assignment("fql", "alpha", value)))
    assert (again.value, type(again.value)) == (value, type(value))


def test_what_is_neither_is_said_so_that_it_is_refused_again() -> None:
    assert math.isinf(value_of(word_of(math.inf)))
    assert math.isnan(value_of(word_of(math.nan)))


def test_a_sweep_is_its_values() -> None:
    found = sweep_of("run.actor_widths=[8,8],[16]")
    assert found.values == ((8, 8), (16,))
    assert list(map(str, found.points)) == ["run.actor_widths=[8,8]", "run.actor_widths=[16]"]
    assert sweep_of(str(found)) == found
    with pytest.raises(SettingsError, match=r"1 and 1\.0 are one value"):
        sweep_of("fql.alpha=1,1.0")


def test_points_are_combinations_of_what_concerns_a_method() -> None:
    request = ask("toy", "quick", "fql,flow", sweeps=("fql.alpha=1,3", "run.heads=2,4"))
    assert [list(map(str, point)) for point in request.points("flow")] == [["run.heads=2"], ["run.heads=4"]]
    assert len(request.points("fql")) == 4
    assert ask("toy", "quick").points("flow") == [()]


def test_the_words_of_a_pack_are_said_from_its_values() -> None:
    request = ask(
        "toy", "quick", "fql,flow", settings=("run.sampling='joint'", "flow.heads=2", "fql.heads=3"), value="iql"
    )
    words = request.words("fql", "bandit-v0", sweep_of("fql.alpha=1,0.30").points[1:], "generated")
    assert words == (
        *("--suite", "toy", "--preset", "quick", "--methods", "fql", "--tasks", "bandit-v0", "--value", "iql"),
        *("--set", "run.sampling=joint", "fql.heads=3", "fql.alpha=0.3"),
    )


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["a-task1-v0", "a-task2-v0", "a-task3-v0"], ["a-task[1-3]-v0"]),
        (["p-3x3-1", "p-3x3-2", "p-4x4-1", "p-4x4-2"], ["p-3x3-[1-2]", "p-4x4-[1-2]"]),
        (["a1", "a3", "b"], ["a[13]", "b"]),
        (["x", "y"], ["x", "y"]),
        (["a10", "a11"], ["a10", "a11"]),
        ([], []),
    ],
)
def test_names_in_short_are_patterns(names: list[str], wanted: list[str]) -> None:
    assert in_short(names) == wanted
