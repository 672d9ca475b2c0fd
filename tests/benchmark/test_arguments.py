"""Words of the command line as values."""

from __future__ import annotations

import pytest

from benchmark.arguments import gathered, parse

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


def test_what_is_given_once_stays_where_it_is() -> None:
    words = ["--suite", "toy", "--seeds", "0-3", "--dry-run"]
    assert gathered(words) == words
    found = parse([*words, "--tasks", "a*", "b*", "--domains", "c"])
    assert (found.tasks, found.domains, found.seeds, found.dry_run) == (("a*", "b*"), ("c",), "0-3", True)
