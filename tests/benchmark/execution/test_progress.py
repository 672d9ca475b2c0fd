"""Lines without a terminal: each change of phase, and one a minute whatever happens."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from benchmark.execution import progress
from benchmark.execution.progress import Progress
from benchmark.planning.plan import Pack, make
from benchmark.planning.request import ask


def pack() -> Pack:
    return make(ask("toy", "quick", methods="flow", tasks=("bandit-v0",), seeds="0-3")).packs[0]


def quiet() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=False, width=120), text


def test_a_silent_pack_is_told_of_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compilation takes minutes, and nobody hears anything of it."""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.2)
    console, text = quiet()
    with Progress(console, 1) as shown:
        shown.hear(pack(), {"phase": "offline", "step": 500, "total": 1000, "rate": 10.0, "left": 50.0})
        time.sleep(0.9)
    lines = text.getvalue().splitlines()
    assert 3 <= len(lines) <= 6
    assert set(lines) == {"flow on bandit-v0, seeds 0-3: offline 500/1000, 10 steps/s, 0:50 left"}


def test_progress_within_a_phase_is_one_line() -> None:
    console, text = quiet()
    with Progress(console, 1) as shown:
        for step in (100, 200, 300):
            shown.hear(pack(), {"phase": "offline", "step": step, "total": 1000})
        shown.hear(pack(), {"phase": "done"})
    assert [line.split(":")[1].split(",")[0].strip() for line in text.getvalue().splitlines()] == [
        "offline 100/1000",
        "done",
    ]


@pytest.mark.parametrize("end", ["failed", "stopped", "left to another process"])
def test_however_a_pack_ends_it_is_counted(end: str) -> None:
    console, text = quiet()
    with Progress(console, 1) as shown:
        shown.hear(pack(), {"phase": end})
    assert text.getvalue().startswith(f"[1/1] flow on bandit-v0: {end}")
    assert shown.rows == {}


def test_the_halves_of_a_pack_are_packs() -> None:
    console, text = quiet()
    whole = pack()
    with Progress(console, 1) as shown:
        shown.hear(whole, {"phase": "halved", "pieces": 2})
        for part in (whole.of(whole.cells[:2]), whole.of(whole.cells[2:])):
            shown.hear(part, {"phase": "done"})
    assert [line.split("]")[0] for line in text.getvalue().splitlines()] == ["[1/3", "[2/3", "[3/3"]


def named(*methods: str) -> list[Pack]:
    return list(make(ask("toy", "quick", methods=",".join(methods), tasks=("bandit-v0",), seeds="0-3")).packs)


def test_what_is_left_of_all_is_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four packs of 100 s on two workers; the first takes 50 s, so that the others are thought to as well."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    packs = named("bon", "flow", "fql", "ifql")
    console, text = quiet()
    shown = Progress(console, 4, {pack.name: 100.0 for pack in packs}, jobs=2)
    assert shown.left() == 200.0
    for pack_ in packs[:2]:
        shown.hear(pack_, {"phase": "offline", "step": 1, "total": 9})
    clock[0] = 50.0
    assert shown.left() == 150.0
    shown.hear(packs[0], {"phase": "done"})
    assert shown.left() == 50.0  # one that is over its time, and two of 50 s on two workers
    assert text.getvalue().splitlines()[-1].endswith("done, 0:50; about 50 s left in all")
    shown.hear(packs[1], {"phase": "offline", "step": 2, "total": 9, "left": 400.0})
    assert shown.left() == 400.0  # not before the longest has ended


def test_nothing_is_said_of_what_nobody_estimated() -> None:
    assert Progress(quiet()[0], 1).left() is None


def test_the_live_table_says_what_is_left_of_all() -> None:
    packs = named("bon", "flow")
    console, text = quiet()
    shown = Progress(console, 2, {pack.name: 90.0 for pack in packs})
    console.print(shown._table())
    assert "0 of 2 packs ended, about 3 min left in all" in text.getvalue()
