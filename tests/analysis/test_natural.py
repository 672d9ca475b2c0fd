"""Names and numbers as people order and say them."""

from __future__ import annotations

import random

import pytest

from analysis.durations import duration
from analysis.natural import natural
from tests.analysis.stores import frame, only, run


@pytest.mark.parametrize(
    "expected",
    [
        ["0.1", "0.3", "1", "10"],
        ["-2", "-1e-3", "0", "1e-05", "3e-4", "0.5", "2e3"],
        ["walk alpha=-1", "walk alpha=0.5", "walk alpha=10"],
        ["door-2", "door-10", "door-10-b", "maze-1"],
        ["3", "20", "false", "true", "unset"],
        ["", "a", "a2", "a10", "aa", "b"],
        ["1", "1.0", "01.5"],
        ["[0, 9]", "[0, 10]", "[1, 2]"],
    ],
)
def test_numbers_within_text_count_as_numbers(expected: list[str]) -> None:
    shuffled = random.Random(0).sample(expected, len(expected))
    assert sorted(shuffled, key=natural) == expected
    assert sorted(expected[::-1], key=natural) == expected


@pytest.mark.parametrize(
    ("hours", "of", "expected"),
    [
        (0.00129, "device-", "5 device-seconds"),
        (0.0, "", "0 seconds"),
        (1 / 3600, "device-", "1 device-second"),
        (59.4 / 3600, "", "59 seconds"),
        (59.6 / 3600, "", "1 minute"),
        (90 / 3600, "", "1.5 minutes"),
        (25 / 60, "device-", "25 device-minutes"),
        (59.7 / 60, "", "1 hour"),
        (9.96, "", "10 hours"),
        (3.21, "device-", "3.2 device-hours"),
        (47.4, "", "47 hours"),
        (48.0, "", "2 days"),
        (34_000.0, "device-", "1,417 device-days"),
        (2_400_000.0, "", "100,000 days"),
    ],
)
def test_durations_are_what_a_person_would_say(hours: float, of: str, expected: str) -> None:
    assert duration(hours, of) == expected


def test_a_table_lists_numbers_as_numbers() -> None:
    alphas = ("10", "0.3", "3", "1")
    swept = [run(0.5, method="run", params={"hyperparameters.alpha": a}) for a in alphas]
    tuned = [run(0.5, task=f"door-{i}", params={"hyperparameters.alpha": a}) for i, a in enumerate(alphas)]
    table = only([*tuned, *swept, run(0.5, domain="door10", task="x"), run(0.5, domain="door9", task="y")])
    assert table.domains == ["door", "door9", "door10"]
    rows = [row for row in table.rows if row.startswith("run")]
    assert rows == ["run alpha=0.3", "run alpha=1", "run alpha=3", "run alpha=10"]
    (line,) = [note for note in table.notes if note.startswith("differs: alpha")]
    swept_values = "run alpha=0.3 0.3, run alpha=1 1, run alpha=3 3, run alpha=10 10"
    assert line == f"differs: alpha: {swept_values}, walk 0.3/1/3/10/unset"


def test_tables_and_measures_stand_in_the_order_of_their_numbers() -> None:
    from analysis.tables import tables

    sizes = ("generated:60 episodes", "generated:200 episodes", "generated:7 episodes")
    runs = [run(0.5, data_source=size, final={"best_10": 1.0, "best_9": 1.0}) for size in sizes]
    found = tables(frame(runs))
    assert [table.group["data_source"] for table in found] == [sizes[2], sizes[0], sizes[1]]
    assert found[0].measures == ["best_9", "best_10"]
