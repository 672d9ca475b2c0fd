"""Rows that are decisions: when they enter replay, what is kept of them, and a whole run that may stop anywhere."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from benchmark.execution.serving import run_pack
from benchmark.planning.plan import Cell, make
from benchmark.planning.request import OWN, ask
from benchmark.runs.records import folder_of, state_of
from benchmark.training import agents, trainer
from benchmark.training.build import build_agent
from benchmark.training.collect import Collected, Collector, WarmUp
from benchmark.training.endings import Stopped
from envs import load_suite
from envs._suite import Pool
from envs.toy._torch_base import Mixture
from tests.benchmark import tiny
from tests.benchmark.training.test_pack import Stop, assert_same

SIZES = {
    "online_steps": 40,
    "start_training": 9,
    "evaluate_every": 40,
    "evaluation_episodes": 2,
    "log_every": 10,
    "batch_size": 4,
    "flow_steps": 2,
    "heads": 2,
    "actor_widths": [4],
    "value_widths": [4],
    "encoder_channels": [2, 2],
    "encoder_size": 3,
    "updates_per_step": 0.5,
    "random_shift": 1,
}


def cells(
    method: str = "dsrl", seeds: str = "6,8", task: str = "pixels-prompted-v0", value: str = OWN, **changes: Any
) -> list[Cell]:
    words = tuple(f"run.{name}={value}" for name, value in (SIZES | changes).items())
    request = ask("toy", "frozen", methods=method, tasks=(task,), seeds=seeds, settings=words, value=value)
    (pack,) = make(request).packs
    return list(pack.cells)


def agent(method: str = "dsrl") -> agents.Agent:
    return build_agent(cells(method)[0])[2]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], bool, int]]:
    """Who was asked: the names of each decision of the first seed, whether it was the base, and rows.

    Chunks walk to and fro, in every other episode to the right. They name themselves in their second entry, and the
    noise that is kept of each is that name.
    """
    found: list[tuple[list[int], bool, int]] = []

    def act(agent: Any, state: Any, obs: Any, counters: np.ndarray, mapped: bool, base: bool = False) -> Any:
        found.append((counters[0, 0].tolist(), base, counters.shape[1]))
        assert "prompt" in obs
        name = counters[..., 2] + 100.0 * counters[..., 1]
        chunks = np.zeros((*counters.shape[:2], 2, 2), np.float32)
        walk = np.where(counters[..., 1] % 2, 1.0, np.where(counters[..., 2] % 2, -0.9, 0.9))
        chunks[..., 0] = walk[..., None]
        chunks[..., 1] = (1e-3 * name)[..., None]
        return chunks, {"noise": np.repeat(name[..., None], 3, axis=-1).astype(np.float32)}

    monkeypatch.setattr(trainer, "act_rows", act)
    return found


def gathered(collector: Collector, pool: Pool, target: int) -> list[tuple[Any, bool]]:
    """The rows of the first seed in order, each with whether it came after its chunk's updates."""
    rows = []
    while min(collector.steps) < target:
        found: Collected = collector.collect(pool, None, target)  # type: ignore[arg-type]
        assert found.later is not None
        for block, later in ((found.rows, False), (found.later, True)):
            if block.present[0, 0]:
                rows.append((jax.tree.map(lambda leaf: np.asarray(leaf)[0, 0], block.rows), later))
    return rows


def name_of(row: Any, which: str = "action") -> float:
    return round(1e3 * float(getattr(row, which)[1]))


def test_a_row_enters_when_its_next_chunk_is_decided(asked: list[Any]) -> None:
    task = load_suite("toy").tasks()["pixels-prompted-v0"]
    collector, pool = Collector(agent(), [0], 50), load_suite("toy").pool(task, 1, 0)
    collector.start(pool)
    rows = gathered(collector, pool, 60)
    assert {width for *_, width in asked} == {1}, "a decision that is collected costs one row"
    names = [name_of(row) for row, _ in rows]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    won = [row for row, later in rows if later and row.mask == 0.0]
    lost = [row for row, later in rows if later and row.mask == 1.0]
    assert won
    assert lost
    for row, later in rows:
        assert float(row.kept["noise"][0]) == name_of(row)
        assert later == (row.terminal == 1.0)
        assert row.reward == (0.0 if row.mask == 0.0 else -1.0)
        assert "prompt" not in row.obs
        if row.mask == 1.0:  # of a timeout, too: one more chunk is decided, by its number, and not executed
            assert name_of(row, "next_action") == name_of(row) + 1
    for row in lost:
        assert name_of(row) + 1 not in names
    inside = [(row, after) for (row, _), (after, _) in pairwise(rows) if row.terminal == 0.0]
    for row, after in inside:
        np.testing.assert_array_equal(row.next_obs["camera"], after.obs["camera"])
        assert name_of(after) == name_of(row, "next_action")


def test_until_training_starts_the_base_acts(asked: list[Any]) -> None:
    task = load_suite("toy").tasks()["pixels-prompted-v0"]
    collector = Collector(agent(), [0], 50, WarmUp("base", 8))
    pool = load_suite("toy").pool(task, 1, 0)
    collector.start(pool)
    gathered(collector, pool, 20)
    bases = [base for _, base, _ in asked]
    assert bases[0]
    assert not bases[-1]
    assert bases == sorted(bases, reverse=True)
    assert sum(bases) >= 4


@pytest.mark.slow
def test_a_run_of_decisions_may_stop_anywhere(tmp_path: Path) -> None:
    """Frames on disk, an open decision, a warm-up by the base; and a seed alone is the seed in its pack."""
    whole, stop = tmp_path / "whole", Stop()
    pack = cells()
    assert run_pack(tiny.site(whole), pack, lambda event: None, stop).failed == []
    for at in (1, 2, 4, 7, stop.asked // 2, stop.asked):
        root = tmp_path / str(at)
        with pytest.raises(Stopped):
            run_pack(tiny.site(root), pack, lambda event: None, Stop(at))
        assert {state_of(folder_of(root, cell.key)) for cell in pack} == {"begun"}
        assert run_pack(tiny.site(root), pack, lambda event: None, tiny.never).failed == []
        assert_same(root, whole, pack)
    alone = tmp_path / "alone"
    assert run_pack(tiny.site(alone), pack[1:], lambda event: None, tiny.never).failed == []
    assert_same(alone, whole, pack[1:], tolerance=1e-5)
    rows = tiny.arrays(whole, pack[0])
    count = len(rows["rows/row['rewards']"])
    assert rows["rows/place['observations']['camera']"].dtype == np.uint8
    assert rows["rows/row['kept']['noise']"].shape == (count, 3)
    assert {int(each) for name, each in rows.items() if name.endswith(".count")} <= set(range(13, 20))


@pytest.mark.slow
def test_a_run_that_learns_by_returns_may_stop_anywhere(tmp_path: Path) -> None:
    whole, stop, pack = tmp_path / "whole", Stop(), cells("bon", "6", "pixels-v0", value="mc")
    assert run_pack(tiny.site(whole), pack, lambda event: None, stop).failed == []
    for at in (3, stop.asked // 2):
        root = tmp_path / str(at)
        with pytest.raises(Stopped):
            run_pack(tiny.site(root), pack, lambda event: None, Stop(at))
        assert run_pack(tiny.site(root), pack, lambda event: None, tiny.never).failed == []
        assert_same(root, whole, pack)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "every", "wanted"),
    [
        (10, {"log_every": 3, "evaluate_every": 3}, [3, 6, 9, 10]),
        (11, {"log_every": 1, "evaluate_every": 4}, [4, 8, 11]),
    ],
)
def test_a_decision_that_steps_past_a_boundary_leaves_none_out(
    tmp_path: Path, steps: int, every: dict[str, Any], wanted: list[int]
) -> None:
    (cell,) = cells("flow", "6", "pixels-v0", online_steps=steps, start_training=5, **every)
    assert tiny.run(tmp_path, [cell]) == []
    lines = (folder_of(tmp_path, cell.key) / "metrics.jsonl").read_text().splitlines()
    found = [line["step"] for line in map(json.loads, lines) if "evaluation/success" in line["m"]]
    assert found == wanted
    assert "online_success" in tiny.done(tmp_path, cell)


@pytest.mark.slow
def test_a_base_that_fails_says_why_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it raises behind a callback arrives as the run's error, and nothing of the run is lost."""

    def broken(*_: Any) -> Any:
        raise ValueError("the checkpoint has no action head")

    monkeypatch.setattr(Mixture, "forward", broken)
    pack = cells("flow", "6", task="pixels-torch-v0")
    ((cell, text),) = run_pack(tiny.site(tmp_path), pack, lambda event: None, tiny.never).failed
    assert "the base of pixels-torch-v0 failed with ValueError: the checkpoint has no action head" in text
    assert state_of(folder_of(tmp_path, cell.key)) == "failed"
