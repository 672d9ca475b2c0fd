"""Estimates: what attempts took, whatever became of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.planning.plan import make
from benchmark.planning.request import ask
from benchmark.runs.estimate import estimate, measured_rates, pack_memory, pack_seconds
from benchmark.runs.records import folder_of
from envs import load_suite


def write(folder: Path, lines: list[dict[str, float]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attempts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_done_seeds_tell_what_the_others_will_take(tmp_path: Path) -> None:
    """One of two seeds is done, and the pack took 60 s: half of that is left. Nothing measured: the declared costs."""
    plan = make(ask("toy", "quick", methods="fql", tasks=("bandit-v0",), seeds="0,1"))
    (pack,) = plan.packs
    declared = estimate(plan.packs, measured_rates(tmp_path, plan.packs))
    assert (declared.measured, declared.device_seconds) == (0, pytest.approx(pack_seconds(pack, {})))
    assert declared.updates == 2 * (800 + 120 - 50 + 1)
    folder = folder_of(tmp_path, pack.first.key)
    write(folder, [{"attempt": 1, "start": 0, "device_share": 0.5}, {"attempt": 1, "end": 60_000}])
    (folder / "done.json").write_text("{}")
    measured = estimate([pack.of(pack.cells[1:])], measured_rates(tmp_path, plan.packs))
    assert (measured.measured, measured.device_seconds) == (1, pytest.approx(30.0))


def test_costly_methods_are_said_to_be(tmp_path: Path) -> None:
    packs = make(ask("ogbench", "paper", methods="flow,qpilots_m", tasks=("cube-double*task1*",))).packs
    seconds = {pack.first.method: pack_seconds(pack, {}) for pack in packs}
    assert seconds["qpilots_m"] > 5 * seconds["flow"]


@pytest.mark.parametrize(
    ("task", "data", "words", "rows"),
    [
        ("cube-triple*task1*", "official", (), 3_000_000),
        ("cube-quadruple*task1*", "official", (), 1_000_000),
        ("cube-quadruple*task1*", "generated", ("data.shards=100", "data.episodes=100000"), 1_000_000),
        ("antmaze-giant*task1*", "generated", (), 1_000_000),
        ("antmaze-giant*task1*", "generated", ("data.episodes=50",), 100_000),
    ],
)
def test_memory_counts_what_is_on_the_device(task: str, data: str, words: tuple[str, ...], rows: int) -> None:
    """A million rows more or less are the difference between a plan and the same with a single episode."""
    request = ask("ogbench", "paper", methods="flow", tasks=(task,), seeds="0", data=data, settings=words)
    (pack,) = make(request).packs
    few = ("data.episodes=1",)
    tiny = ask("ogbench", "paper", methods="flow", tasks=(task,), seeds="0", data="generated", settings=few)
    (least,) = make(tiny).packs
    facts = load_suite("ogbench").tasks()[pack.first.task]
    one = 2000 if "giant" in task else 1000
    wanted = (rows - one) * 4 * (facts.observation[0] + facts.action_size + 4)
    assert pack_memory(pack) - pack_memory(least) == wanted
