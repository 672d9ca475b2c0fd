"""Tables that rank by another measure than success, which their preset names."""

from __future__ import annotations

import csv
from io import StringIO
from typing import Any

import numpy as np
import pytest

from analysis import statistics
from analysis.files import markdown, tidy
from analysis.layout import captions, scores
from analysis.leaderboard import sorted_by
from analysis.runs import Choice
from analysis.tables import columns
from tests.analysis.stores import only, run

MEANING = "how far above the others"


def above(success: float, score: float | None, **more: Any) -> dict[str, Any]:
    """A run whose preset ranks by ``above``, which grows by 2 online."""
    final = {} if score is None else {"offline_above": score, "online_above": score + 2}
    tags: dict[str, Any] = {"score": "above", "score_meaning": MEANING}
    return run(success, success, "FINISHED", **(tags | {"final": final} | more))


def of(method: str, success: float, measured: tuple[float, ...], **more: Any) -> list[dict[str, Any]]:
    return [above(success, one, method=method, seed=str(s), **more) for s, one in enumerate(measured)]


def test_the_rows_are_ranked_by_it_and_success_stands_beside() -> None:
    table = only([*of("lucky", 0.5, (-1.0, -0.5)), *of("steady", 0.0, (1.0, 1.25))])
    assert table.rows == ["steady", "lucky"]
    assert captions(table) == [
        "above, and success in % [95 % interval over seeds]: offline -> online",
        f"above: {MEANING}",
        "rows by online above, best first",
    ]
    assert scores(table) == [
        ["method", "door\nabove", "door\nsuccess"],
        ["steady", "1.12 [1.00,1.25] -> 3.12 [3.00,3.25]", "0 [0,0] -> 0 [0,0]"],
        ["lucky", "-0.75 [-1.00,-0.50] -> 1.25 [1.00,1.50]", "50 [50,50] -> 50 [50,50]"],
    ]
    assert table.measures == []
    assert "| method | door above | door success |" in markdown([table], Choice())


def test_its_interval_is_that_of_its_own_values() -> None:
    values = (0.3, -0.2, 1.7)
    cell = only(of("walk", 0.5, values)).scores["walk", "door", "above", "offline"]
    assert cell.interval == pytest.approx(statistics.interval([np.array(values)], [1.0]))


def test_a_domain_that_has_not_got_it_shows_success_alone() -> None:
    hall = {"domain": "hall", "task": "hall-1"}
    runs = [*of("walk", 0.5, (1.0, 3.0)), above(1.0, None, method="walk", **hall), *of("run", 0.0, (0.0, 0.0))]
    table = only(runs)
    assert columns(table) == [
        ("mean", "above"),
        ("mean", "success"),
        ("door", "above"),
        ("door", "success"),
        ("hall", "success"),
    ]
    assert captions(table)[0].startswith("above (of door), and success in %")
    assert table.scores["walk", "mean", "above", "offline"].mean == 2.0
    assert table.scores["walk", "mean", "above", "offline"].expected == 2
    assert table.scores["walk", "mean", "success", "offline"].mean == 0.75
    by_hall = sorted_by("hall", [table])[0]
    assert by_hall.rows == ["walk", "run"]
    assert captions(by_hall)[-1] == (
        "rows by online success on hall, best first; a row that lacks a run of some task behind the others"
    )


@pytest.mark.parametrize("status", ["FAILED", "RUNNING"])
def test_a_method_that_never_measured_it_is_a_hole(status: str) -> None:
    table = only([*of("walk", 0.5, (1.0, 3.0)), run(None, None, status, method="broken", seed="0")])
    assert scores(table)[2] == ["broken", "- (0/2)", "- (0/2)"]


def test_where_nobody_has_measured_it_success_ranks() -> None:
    table = only([above(0.5, None, method="walk"), above(0.75, None, method="run")])
    assert (table.score, table.rows) == ("success", ["run", "walk"])
    assert scores(table)[0] == ["method", "door"]
    assert captions(table)[1] == "no run has measured above, which this preset ranks by"


def test_the_newest_run_says_what_ranks() -> None:
    other = {"tags.score": "success"}
    runs = [above(0.5, 1.0, method="walk", started=2000), above(0.75, 0.0, method="run", started=1000) | other]
    assert only(runs).score == "above"
    runs[0]["started"] = 500
    assert only(runs).score == "success"


def test_rows_can_be_ordered_by_success_all_the_same() -> None:
    table = only([*of("lucky", 0.5, (-1.0,)), *of("steady", 0.0, (1.0,))])
    ordered = sorted_by("success", [table])[0]
    assert ordered.rows == ["lucky", "steady"]
    assert captions(ordered)[-1] == "rows by online success, best first"
    ordered = sorted_by("above", [ordered])[0]
    assert (ordered.rows, captions(ordered)[-1]) == (["steady", "lucky"], "rows by online above, best first")


def test_the_tidy_file_names_the_measure() -> None:
    lines = list(csv.DictReader(StringIO(tidy([only(of("walk", 0.5, (1.0, 3.0)))]))))
    found = {(line["measure"], line["phase"]): float(line["mean"]) for line in lines}
    assert found == {
        ("above", "offline"): 2.0,
        ("above", "online"): 4.0,
        ("success", "offline"): 0.5,
        ("success", "online"): 0.5,
    }
