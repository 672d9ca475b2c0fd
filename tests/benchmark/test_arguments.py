"""Words of the command line as values."""

from __future__ import annotations

import shlex

import pytest

from benchmark.arguments import gathered, parse
from benchmark.launch import command

OVERRIDES = ("qpilots_u.alpha=0.5", "run.batch_size=128")


@pytest.mark.parametrize(
    "words",
    [
        ["--set", *OVERRIDES],
        ["--set", OVERRIDES[0], "--set", OVERRIDES[1]],
        ["--set", OVERRIDES[0], "--methods", "fql", f"--set={OVERRIDES[1]}"],
    ],
)
def test_an_option_may_be_given_several_times(words: list[str]) -> None:
    assert parse(["--suite", "toy", *words]).set == OVERRIDES


@pytest.mark.parametrize("words", [["a,b"], ["a, b"], ["a", "b"], ["a,", "b"], ["a", ",b"]])
@pytest.mark.parametrize("option", ["--methods", "--tasks", "--domains", "--seeds"])
def test_a_list_may_have_commas_or_spaces(option: str, words: list[str]) -> None:
    for said in ([option, *words], [f"{option}={words[0]}", *words[1:]]):
        found = getattr(parse(["--suite", "toy", *said, "--dry-run"]), option[2:])
        assert [word.strip() for word in (found.split(",") if isinstance(found, str) else found)] == ["a", "b"]


def test_a_comma_in_a_pattern_is_the_patterns() -> None:
    assert parse(["--suite", "toy", "--tasks", "a-[1,2]-*,b"]).tasks == ("a-[1,2]-*", "b")


def test_help_is_given_also_behind_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--suite", "toy", "--methods", "flow", "-h"])
    assert not ended.value.code
    assert "--methods" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "seen"),
    [
        ("https://me:secret@host", "https://me:***@host"),
        ("--mirror=https://token@host", "--mirror=https://***@host"),
        ("--set=fql.alpha=1", "--set=fql.alpha=1"),
        ("fql.alpha=1", "fql.alpha=1"),
    ],
)
def test_a_command_to_give_again_has_no_password(word: str, seen: str) -> None:
    assert command(["--suite", "toy", word]) == f"python -m benchmark.launch --suite toy {shlex.quote(seen)}"


@pytest.mark.parametrize(("text", "value"), [("10", 10), ("1e1", 10), ("10.0", 10), ("+10", 10)])
def test_a_number_is_an_integer_however_it_is_written(text: str, value: int) -> None:
    for words in (["--limit", text], [f"--limit={text}"]):
        assert parse(["--suite", "toy", *words]).limit == value


def test_what_is_given_once_stays_where_it_is() -> None:
    words = ["--suite", "toy", "--seeds", "0-3", "--dry-run"]
    assert gathered(words) == words
    found = parse([*words, "--tasks", "a*", "b*", "--domains", "c"])
    assert (found.tasks, found.domains, found.seeds, found.dry_run) == (("a*", "b*"), ("c",), "0-3", True)
