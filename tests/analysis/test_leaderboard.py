"""The leaderboard from runs made up here: what is counted, what is a hole, what never shares a table."""

from __future__ import annotations

import csv
import random
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from analysis import files
from analysis.files import tidy
from analysis.layout import captions
from analysis.runs import Choice
from analysis.tables import Table, tables
from analysis.terminal import show
from tests.analysis.stores import cost, frame, many, only, run


def markdown(found: list[Table]) -> str:
    return files.markdown(found, Choice())


def printed(found: list[Table], width: int) -> str:
    text = StringIO()
    show(found, Console(file=text, width=width, highlight=False), Path("leaderboard.md"))
    return text.getvalue()


def test_mean_over_tasks_of_the_mean_over_seeds() -> None:
    table = only(
        [
            *(run(0.0, 0.2, seed=str(s), task="door-1") for s in range(2)),
            *(run(1.0, 0.8, seed=str(s), task="door-2") for s in range(6)),
        ]
    )
    assert table.scores["walk", "door", "success", "offline"].mean == pytest.approx(0.5)
    assert table.scores["walk", "door", "success", "online"].mean == pytest.approx(0.5)
    assert table.scores["walk", "door", "success", "offline"].seeds == 8


def test_domains_count_alike_in_the_mean() -> None:
    runs = [run(1.0, seed="0", task=f"door-{task}") for task in range(4)] + [run(0.0, domain="maze", task="maze-1")]
    table = only(runs)
    assert table.scores["walk", "mean", "success", "offline"].mean == 0.5
    assert table.phases == ["offline"]


@pytest.mark.parametrize("status", ["FAILED", "RUNNING", "KILLED"])
def test_a_run_that_did_not_finish_is_a_hole(status: str) -> None:
    whole = [run(0.5, 0.5, seed=str(s)) for s in range(3)]
    broken = [run(0.9, 0.9, method="run", seed="0"), run(0.9, 0.9, method="run", seed="1")]
    table = only([*whole, *broken, run(0.1, 0.1, status, method="run", seed="2")])
    cell = table.scores["run", "door", "success", "online"]
    assert (cell.mean, cell.seeds, cell.expected) == (pytest.approx(0.9), 2, 3)
    assert "90 [90,90] -> 90 [90,90] (2/3)" in markdown([table])
    assert "50 [50,50] -> 50 [50,50] |" in markdown([table])


def test_a_phase_that_a_method_does_not_have_is_no_hole() -> None:
    scratch = {"method": "crawl", "params": {"settings.offline_steps": "0"}}
    runs = [run(0.2, 0.5, seed=str(seed)) for seed in range(3)]
    runs += [run(online=0.75, seed=str(seed), final={"online_steps": 9.0}, **scratch) for seed in range(3)]
    table = only([*runs, run(0.1, 0.2, seed="0", method="hop", final={"offline_return": 1.0})])
    assert table.rows == ["crawl", "walk", "hop"]
    assert table.scores["crawl", "door", "success", "offline"].expected == 0
    assert table.scores["walk", "door", "success", "offline"].expected == 3
    assert "crawl - -> 75 [75,75]" in " ".join(printed([table], 200).split())
    assert table.others["crawl", "offline_return"].expected == 0
    two = only([*runs[:-1], run(status="FAILED", seed="2", **scratch)])
    assert "crawl - -> 75 [75,75] (2/3)" in " ".join(printed([two], 200).split())


def test_only_failed_runs_and_no_runs_at_all() -> None:
    runs = [run(0.5, 0.5, seed="0"), run(0.5, 0.5, seed="0", domain="maze", task="maze-1")]
    table = only([*runs, run(None, None, "FAILED", method="run")])
    for domain in ("door", "maze"):
        cell = table.scores["run", domain, "success", "online"]
        assert (cell.mean, cell.interval, cell.seeds, cell.expected) == (None, None, 0, 1)
    assert "| run | - (0/2) | - (0/1) | - (0/1) |" in markdown([table])
    assert "1 failed" in table.notes[0]


def test_finished_without_a_final_measure_is_a_hole() -> None:
    table = only([run(0.5, 0.5), run(0.5, None, method="run")])
    assert "| run | 50 [-] -> - (1/1 -> 0/1) |" in markdown([table])


def test_a_group_where_nothing_finished() -> None:
    assert "| walk | - (0/1) |" in markdown([only([run(None, None, "RUNNING")])])


def test_one_seed_has_no_interval() -> None:
    cell = only([run(0.5, 0.75)]).scores["walk", "door", "success", "online"]
    assert (cell.mean, cell.interval) == (0.75, None)
    assert "| walk | 50 [-] -> 75 [-] |" in markdown([only([run(0.5, 0.75)])])


def test_order_is_by_the_final_mean_then_name_and_incomplete_methods_last() -> None:
    scores = {"b": 0.5, "a": 0.5, "best": 0.75}
    runs = [
        run(0.9, score, method=name, domain=domain, task=f"{domain}-1")
        for name, score in scores.items()
        for domain in ("door", "maze")
    ]
    runs.append(run(1.0, 1.0, method="only the easy one", domain="door", task="door-1"))
    table = only(runs)
    assert table.rows == ["best", "a", "b", "only the easy one"]
    said = "rows by mean online success, best first"
    assert f"; {said}; a row that lacks a run of some task behind the others\n" in markdown([table])
    assert f"{said}\n" in markdown([only(runs[:-1])])


def test_the_mean_stands_beside_the_name_where_there_are_several_domains() -> None:
    runs = [run(0.5, 0.25, domain=domain, task=f"{domain}-1") for domain in ("maze", "door")]
    assert "| method | mean | door | maze |\n" in markdown([only(runs)])
    assert printed([only(runs)], 100).splitlines()[3].split() == ["method", "mean", "door", "maze"]
    alone = markdown([only(runs[:1])])
    assert "| method | maze |\n" in alone
    assert "rows by online success, best first\n" in alone


@pytest.mark.parametrize(
    ("tag", "other"),
    [
        *(("suite", "x"), ("protocol", "2"), ("preset", "full"), ("data_source", "generated:play/v1")),
        *(("backbone", "paper"), ("value", "td"), ("mujoco", "3.2.1")),
    ],
)
def test_groups_are_never_mixed(tag: str, other: str) -> None:
    found = tables(frame([run(0.0, 0.0), run(1.0, 1.0, **{tag: other})]))
    assert sorted(table.scores["walk", "door", "success", "offline"].mean or 0.0 for table in found) == [0.0, 1.0]
    titles = [line for line in markdown(found).splitlines() if line.startswith("## ")]
    assert len(set(titles)) == 2


def test_patch_releases_of_mujoco_share_a_table_and_are_named() -> None:
    table = only([run(0.0), run(1.0, mujoco="3.3.1", seed="1")])
    assert table.group["mujoco"] == "3.3"
    assert any("3.3.1, 3.3.7" in note for note in table.notes)


def test_configurations_of_one_method_are_separate_rows() -> None:
    runs = [run(0.2, seed="0", params={"hyperparameters.alpha": a}) for a in ("0.3", "10")]
    table = only([*runs, run(0.5, method="run")])
    assert table.rows == ["run", "walk alpha=0.3", "walk alpha=10"]


def test_what_was_swept_does_not_tear_apart_what_is_tuned_by_task() -> None:
    """The tuned values of the two tasks are one row; each swept value is one, on whatever tasks it was tried."""
    tuned = [run(0.2, task=f"door-{alpha}", params={"hyperparameters.alpha": alpha}) for alpha in ("1", "3")]
    tried = [("10", "door-1"), ("0.5", "door-3"), ("0.5", "door-1")]
    swept = [run(0.2, task=t, swept=f"alpha={a}", params={"hyperparameters.alpha": a}) for a, t in tried]
    table = only([*tuned, *swept])
    assert table.rows == ["walk", "walk alpha=0.5", "walk alpha=10"]  # the last one lacks a task
    assert table.scores["walk alpha=0.5", "door", "success", "offline"].seeds == 2


def test_two_configurations_that_were_swept_alike_are_two_rows() -> None:
    sizes = [{"settings.batch": size, "hyperparameters.alpha": "1"} for size in ("64", "256")]
    runs = [run(0.2, swept="alpha=1", params=params) for params in sizes]
    before = [run(0.2, params={"settings.batch": "64", "hyperparameters.alpha": alpha}) for alpha in ("1", "2")]
    assert only(runs).rows == ["walk alpha=1 batch=64", "walk alpha=1 batch=256"]
    assert only([*runs[1:], *before]).rows == ["walk alpha=1 batch=64", "walk alpha=1 batch=256", "walk alpha=2"]


def test_hyperparameters_that_differ_by_task_are_one_row() -> None:
    runs = [run(0.2, task=f"door-{a}", params={"hyperparameters.alpha": a}) for a in ("0.3", "10")]
    assert only(runs).rows == ["walk"]


def test_the_same_run_twice_counts_once() -> None:
    runs = [run(0.1, key="k", started=1), run(0.3, key="k", started=3), run(0.2, key="k", started=2)]
    cell = only(runs).scores["walk", "door", "success", "offline"]
    assert (cell.mean, cell.seeds, cell.expected) == (0.3, 1, 1)


def test_other_measures_stand_in_their_own_table() -> None:
    runs = [run(0.5, final={"presses": 2.0}, seed="0"), run(0.5, final={"presses": 3.0}, seed="1")]
    table = only([*runs, run(0.5, method="run"), run(0.1, domain="maze", task="maze-1")])
    assert table.measures == ["presses"]
    text = markdown([table])
    assert "| mean of final | presses |" in text
    assert "| walk | 2.5 |" in text
    assert "| run | - (0/2) |" in text


def test_notes_show_every_setting() -> None:
    mine = run(0.5, params={"settings.discount": "0.99", "settings.clip": "true", "data.episodes": "60"})
    other = run(
        0.5, method="run", params={"settings.discount": "0.995", "settings.clip": "true", "data.episodes": "60"}
    )
    notes = only([mine, other]).notes
    assert "settings: data.episodes=60, clip=true, episodes=50, offline_steps=1000" in notes
    assert "differs: discount: run 0.995, walk 0.99" in notes
    assert any("code 0123456789" in note for note in notes)


def test_the_order_of_the_runs_does_not_matter() -> None:
    runs = many()
    expected = tables(frame(runs))
    random.Random(1).shuffle(runs)
    again = tables(frame(runs))
    assert markdown(again) == markdown(expected)
    assert tidy(again) == tidy(expected)


@pytest.mark.parametrize("width", [80, 200])
def test_nothing_is_cut_off_at_any_width(width: int) -> None:
    table = only([*many(), run(0.5, 0.5, method="a-method-with-a-long-name", domain="domain-0-play", task="0-0")])
    text = printed([table], width)
    for line in markdown([table]).splitlines():
        if line.startswith("| "):
            for cell in line.strip("|").split("|"):
                assert cell.strip(" -:") in text
    assert "…" not in text
    tabular = [line.rstrip() for line in text.splitlines() if "[" in line or "---" in line]
    assert max(map(len, tabular)) <= width
    blocks = text.count("method-0 ")
    assert blocks == 1 if width == 200 else blocks > 1


def test_the_tidy_file() -> None:
    table = only([*many(1, 2), run(None, None, "FAILED", method="broken", domain="domain-0-play", task="0-0")])
    lines = list(csv.DictReader(StringIO(tidy([table]))))
    assert len(lines) == 2 * 3 * 2
    assert {line["domain"] for line in lines} == {"domain-0-play", "domain-1-play", "mean"}
    first = next(line for line in lines if line["method"] == "method-0")
    assert float(first["lo"]) <= float(first["mean"]) <= float(first["hi"])
    assert 0 <= float(first["mean"]) <= 1
    broken = next(line for line in lines if line["method"] == "broken")
    assert (broken["mean"], broken["lo"], broken["seeds"], broken["expected"]) == ("", "", "0", "6")


def test_what_a_run_took_stands_beside_what_it_reached() -> None:
    """The mean over finished runs; what ran out or never ended is not counted, and who does not tell is no zero."""
    runs = [run(1.0, seed=str(s), gpu="H200", host=f"n{s}") | cost(2.0 + s, 0.5) for s in range(2)]
    runs += [run(1.0, status="FAILED", seed="2", gpu="H200", host="n9") | cost(100.0, 100.0)]
    runs += [run(0.5, method="run", seed="0", gpu="A100", host="n1")]
    table = only(runs)
    assert table.costs == {("walk", "wall_hours"): 2.5, ("walk", "device_hours"): 0.5}
    lines = [line.split() for line in printed([table], 100).splitlines()]
    assert ["mean", "of", "a", "run", "wall_time", "device_time"] in lines
    assert ["walk", "2.5", "hours", "30", "minutes"] in lines
    assert ["run", "-", "-"] in lines
    assert "cost: about 1 device-hour in all, on A100, H200 (2 hosts)" in table.notes
    assert "| walk | 2.5 hours | 30 minutes |" in markdown([table])
    rows = list(csv.DictReader(StringIO(tidy([table]))))
    assert {(row["method"], row["wall_hours"], row["device_hours"]) for row in rows} == {
        *(("walk", "2.5", "0.5"), ("run", "", ""))
    }


def test_runs_that_tell_no_cost_make_no_table_of_it() -> None:
    table = only([run(1.0)])
    assert table.costs == {}
    assert "wall_time" not in printed([table], 100)
    assert not any(note.startswith("cost") for note in table.notes)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["false", "false"], "; reward: dense"),
        (["true"], "; reward: sparse"),
        (["true", "false"], "; reward: dense or sparse"),
        ([None], ""),
    ],
)
def test_the_reward_is_said_since_a_domain_may_be_named_after_another(values: list[str | None], wanted: str) -> None:
    runs = [run(1.0, 1.0, seed=str(i)) | {"params.settings.sparse": value} for i, value in enumerate(values)]
    assert captions(only(runs))[0] == f"success in % [95 % interval over seeds]: offline -> online{wanted}"
