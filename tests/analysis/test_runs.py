"""Which runs count: superseded ones, several stores, and what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.runs import Choice, ChoiceError, current, joined
from analysis.tables import tables
from tests.analysis.stores import frame, only, run, write

A, B = "3f2a91c0aaaaaaaa", "9bc1d2e4bbbbbbbb"
OLD: dict[str, Any] = {"bench.superseded": "true"}
KEPT: dict[str, Any] = {"bench.superseded": "false"}
ALL = Choice()


def stores(root: Path, *contents: list[dict[str, Any]]) -> list[str]:
    """A folder for each of these, named a, b, ..."""
    folders = [root / "abcdef"[index] for index in range(len(contents))]
    for folder, runs in zip(folders, contents, strict=True):
        write(runs, folder / "mlflow.db")
    return [str(folder) for folder in folders]


def coded(code: str | None, shared: str | None, online: float = 0.5, **more: Any) -> dict[str, Any]:
    """A run of this code of the method, and of what all share, with a key that does not depend on it."""
    known = {"method_fingerprint": code, "shared_fingerprint": shared, **more}
    tags: dict[str, Any] = {"key": "k"} | {name: value for name, value in known.items() if value is not None}
    return run(0.5, online, **tags)


def test_superseded_runs_count_nowhere() -> None:
    """Even if started last, the only one of its task, or in a group of its own."""
    runs = [
        *(run(0.25, key="k", started=1), run(1.0, key="k", started=2, **OLD)),
        *(run(1.0, task="door-2", **OLD), run(1.0, seed="7", **OLD), run(1.0, preset="paper", **OLD)),
        *(run(1.0, method="run", **OLD), run(1.0, domain="maze", task="m", method_fingerprint=A, **OLD)),
        run(0.75, seed="1", **KEPT),
    ]
    table = only(runs)
    assert (table.rows, table.domains) == (["walk"], ["door"])
    cell = table.scores["walk", "door", "success", "offline"]
    assert (cell.mean, cell.seeds, cell.expected) == (0.5, 2, 2)
    assert table.notes[0] == "runs: 2 finished, 0 failed, 0 unfinished; seeds per task: 2"
    assert tables(frame(runs[3:5])) == []


def test_a_superseded_copy_does_not_clash(tmp_path: Path) -> None:
    found = joined(stores(tmp_path, [coded(A, A, **OLD)], [coded(B, A, 0.25)]), ALL)
    assert found["metrics.final/online_success"].to_list() == [0.25]


@pytest.mark.parametrize("codes", [(A, B), (None, None), (A, None), (None, B)])
def test_a_run_in_two_stores_counts_once(tmp_path: Path, codes: tuple[str | None, str | None]) -> None:
    mine = [coded(*codes, started=5), coded(*codes, key="other", seed="1")]
    places = stores(tmp_path, mine, [coded(*codes, 0.75, started=6), coded(A, A, key="third", seed="2")])
    for order in (places, places[::-1]):
        (table,) = tables(joined(order, ALL))
        assert table.scores["walk", "door", "success", "online"].seeds == 3
        assert table.scores["walk", "door", "success", "online"].mean == pytest.approx((0.75 + 0.5 + 0.5) / 3)


@pytest.mark.parametrize(
    ("here", "there", "what"),
    [
        ((A, A), (B, A), "method code (3f2a91c0 and 9bc1d2e4)"),
        ((A, A), (A, B), "shared code (3f2a91c0 and 9bc1d2e4)"),
        ((A, A), (None, A), "method code (3f2a91c0 and unknown)"),
        ((None, None), (None, B), "shared code (unknown and 9bc1d2e4)"),
        ((A, A), (f"{A}+{B}", A), "method code (3f2a91c0 and 3f2a91c0+9bc1d2e4)"),
    ],
)
def test_a_run_of_other_code_in_another_store_is_refused(
    tmp_path: Path, here: tuple[str | None, str | None], there: tuple[str | None, str | None], what: str
) -> None:
    one = [coded(*here, seed="2", key="2"), coded(*here, seed="10", key="10"), coded(A, A, method="run", key="r")]
    other = [coded(*there, seed="10", key="10"), coded(*there, seed="2", key="2"), coded(A, A, method="run", key="r")]
    places = stores(tmp_path, one, [coded(B, B, key="x", seed="5")], other)
    with pytest.raises(ChoiceError) as error:
        joined(places, ALL)
    text = str(error.value)
    assert text.startswith(
        f"walk on door-1 with seed 2 is in {places[0]} and in {places[2]}, made by different {what}:"
    )
    assert "leave one of the stores out" in text
    assert "--methods" in text
    assert text.count(". ") == 0
    assert text.endswith("(walk).")
    assert set(joined(places, Choice(methods=("run",)))["method"]) == {"run"}
    assert len(joined(places[:2], ALL)) == 4


def test_other_code_in_one_store_is_no_clash(tmp_path: Path) -> None:
    """There the run started last counts, as ever."""
    places = stores(tmp_path, [coded(A, A, 0.25, started=1), coded(B, A, 0.75, started=2)], [run(0.5, seed="1")])
    found = joined(places, ALL).filter(seed="0")
    assert found["metrics.final/online_success"].to_list() == [0.75]


def test_of_two_copies_the_finished_one_counts(tmp_path: Path) -> None:
    """One of them was copied while the run was still going on; its attempt may have begun later."""
    places = stores(tmp_path, [run(0.5, 0.5, key="k", started=1)], [run(status="RUNNING", key="k", started=2)])
    for order in (places, places[::-1]):
        assert joined(order, ALL)["status"].to_list() == ["FINISHED"]


CHOICES = [run(0.5, method=m, suite=s, preset=p) for m in ("walk", "run") for s in ("toy", "big") for p in ("9", "10")]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), 8),
        (Choice(suite="toy"), 4),
        (Choice(preset="9", methods=("walk",)), 2),
        (Choice("big", "10", ("run", "walk")), 2),
    ],
)
def test_what_is_asked_for(tmp_path: Path, choice: Choice, expected: int) -> None:
    found = joined(stores(tmp_path, CHOICES), choice)
    assert len(found) == expected
    for tag, wanted in choice.parts:
        assert set(found[tag]) == set(wanted)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(suite="tob"), "There is no run of suite tob in {}: there are suites big, toy."),
        (Choice(preset="8"), "There is no run of preset 8 in {}: there are presets 9, 10."),
        (Choice(methods=("walk", "wlak")), "There is no run of method wlak in {}: there are methods run, walk."),
        (
            Choice("toy", "9", ("x", "y")),
            "There is no run of methods x, y in {} with suite toy and preset 9: there are methods run, walk.",
        ),
    ],
)
def test_a_choice_that_leaves_nothing(tmp_path: Path, choice: Choice, expected: str) -> None:
    places = stores(tmp_path, CHOICES)
    with pytest.raises(ChoiceError) as error:
        joined(places, choice)
    assert str(error.value) == expected.format(places[0])


def test_runs_stand_in_the_order_of_their_numbers() -> None:
    """The draws of a bootstrap depend on it."""
    runs = [run(0.5, task=task, seed=seed) for task in ("d-10", "d-9") for seed in ("10", "9", "2")]
    expected = [(task, seed) for task in ("d-9", "d-10") for seed in ("2", "9", "10")]
    assert current(frame(runs)).select("task", "seed").rows() == expected
