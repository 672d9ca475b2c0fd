"""Estimates: what attempts took, whatever became of them."""

from __future__ import annotations

import pytest

from benchmark.planning.data_files import preset_table
from benchmark.planning.plan import make
from benchmark.planning.request import ask
from benchmark.runs.estimate import Measured, estimate, measured, pack_disk, pack_memory, pack_seconds, spoken
from envs import load_suite

NOTHING = Measured()


def attempts(start: int, ready: int, end: int, share: float = 1.0) -> list[dict[str, float | str]]:
    """Lines of one attempt, in milliseconds."""
    return [
        {"attempt": 1, "start": start, "device_share": share},
        {"attempt": 1, "ready": ready},
        {"attempt": 1, "end": end, "how": "done"},
    ]


def test_done_seeds_tell_what_the_others_will_take() -> None:
    """One of two seeds is done, and the pack took 60 s: half of that is left. Nothing measured: the declared costs."""
    plan = make(ask("toy", "quick", methods="fql", tasks=("bandit-v0",), seeds="0,1"))
    (pack,) = plan.packs
    declared = estimate(plan.packs, measured([]))
    assert (declared.measured, declared.device_seconds) == (0, pytest.approx(pack_seconds(pack, NOTHING)))
    assert declared.updates == 2 * (800 + 120 - 50 + 1)
    found = measured([(pack.first, attempts(0, 9_000, 60_000, share=0.5))])
    rest = estimate([pack.of(pack.cells[1:])], found)
    assert (rest.measured, rest.device_seconds) == (1, pytest.approx(30.0))


def test_a_start_is_counted_once_for_a_pack_as_declared_and_then_as_measured() -> None:
    declared = preset_table("toy", "quick").cost.seconds_to_start
    plan = make(ask("toy", "quick", methods="flow", tasks=("bandit-v0", "corridor-v0"), seeds="0,1"))
    one, other = plan.packs
    both, alone = (pack_seconds(pack, NOTHING) for pack in (one, one.of(one.cells[:1])))
    assert 2 * alone - both == pytest.approx(declared)
    assert estimate([one, other], NOTHING).device_seconds == pytest.approx(2 * both - declared)  # one program
    found = measured([(one.first, attempts(1_000, 8_000, 60_000))])
    saved = pack_seconds(other, NOTHING) - pack_seconds(other, found)
    assert saved == pytest.approx(declared - 7.0)


@pytest.mark.parametrize(
    ("seconds", "of", "wanted"),
    [
        (0.2, "", "about 1 s"),
        (42.4, "", "about 42 s"),
        (94.0, "", "about 2 min"),
        (94.0, "device", "about 2 device-minutes"),
        (3600.0, "", "about 60 min"),
        (6 * 3600.0, "device", "about 6.0 device-hours"),
        (30.4 * 3600, "", "about 30 h"),
        (34000.95 * 3600, "device", "about 1,417 device-days"),
    ],
)
def test_times_are_said_as_a_person_would(seconds: float, of: str, wanted: str) -> None:
    assert spoken(seconds, of) == wanted


def test_costly_methods_are_said_to_be() -> None:
    packs = make(ask("ogbench", "paper", methods="flow,qpilots_m", tasks=("cube-double*task1*",))).packs
    seconds = {pack.first.method: pack_seconds(pack, NOTHING) for pack in packs}
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
    wanted = (rows - one) * 4 * (facts.observation[0].shape[0] + facts.action_size + 4)
    assert pack_memory(pack) - pack_memory(least) == wanted


def test_disk_counts_frames_in_both_checkpoints() -> None:
    """Of 1200 steps more a seed decides 600 times more in chunks of two, and 200 more episodes of six steps end: so
    many places with two cameras of 8 x 8 bytes, a state of two floats, a chunk of four, and four numbers."""

    def disk(steps: int) -> int:
        words = (f"run.online_steps={steps}",)
        return pack_disk(make(ask("toy", "frozen", methods="bon", tasks=("pixels-v0",), settings=words)).packs[0])

    seeds, checkpoints, place = 4, 2, 2 * 8 * 8 + 4 * (2 + 4 + 4)
    assert disk(4200) - disk(3000) == seeds * checkpoints * (600 + 200) * place
