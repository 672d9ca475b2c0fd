"""What people look at while a plan runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from benchmark.planning.plan import Pack
from benchmark.planning.words import counted
from benchmark.runs.estimate import spoken

LINE_SECONDS = 60.0
"""Between two plain lines of one pack in one phase: no less, and no more, even if nothing is heard of it."""
NOTHING: Mapping[str, float] = {}
ENDS = ("done", "failed", "stopped", "left to another process", "left, since code changed", "halved")
"""Phases in which a pack leaves the display."""


@dataclass
class Row:
    """The last that was heard of a running pack."""

    pack: Pack
    started: float
    phase: str = "starting"
    step: int = 0
    total: int = 0
    rate: float = 0.0
    left: float | None = None
    success: float | None = None
    printed: tuple[float, str] = (0.0, "")

    def cells(self) -> list[str]:
        first = self.pack.first
        seeds = [cell.seed for cell in self.pack.cells]
        in_a_row = len(seeds) > 1 and seeds == list(range(seeds[0], seeds[-1] + 1))
        several = f"{seeds[0]}-{seeds[-1]}" if in_a_row else ",".join(map(str, seeds))
        step = f"{self.step}/{self.total}" if self.total else ""
        rate = f"{self.rate:.0f}" if self.rate else ""
        success = "" if self.success is None else f"{100 * self.success:.0f} %"
        return [first.label, first.task, several, self.phase, step, rate, duration(self.left), success]


def duration(seconds: float | None) -> str:
    """'1:02:03', or nothing."""
    if seconds is None:
        return ""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class Progress:
    """One line for each running pack; a line is kept for each that ended, with what is left of all.

    ``expected``: seconds that each pack will take, by its name; ``jobs``: how many run at a time.
    """

    HEADINGS = ("method", "task", "seeds", "phase", "step", "steps/s", "left", "success")

    def __init__(
        self, console: Console, total: int, expected: Mapping[str, float] | None = None, jobs: int = 1
    ) -> None:
        self.console, self.total, self.ended, self.jobs = console, total, 0, jobs
        self.expected = dict(expected or {})
        """Of the packs that have not ended."""
        self.took, self.thought = 0.0, 0.0
        self.rows: dict[str, Row] = {}
        self.live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._lock, self._over = threading.RLock(), threading.Event()

    def __enter__(self) -> Progress:
        if self.live:
            self.live.start()
        else:
            threading.Thread(target=self._remind, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self.live:
            self.live.stop()

    def _remind(self) -> None:
        """Say where each pack stands although nothing is heard of it: a compilation may take minutes."""
        while not self._over.wait(LINE_SECONDS / 10):
            with self._lock:
                for row in self.rows.values():
                    self._line(row)

    def hear(self, pack: Pack, event: dict[str, Any]) -> None:
        """Take in an event of a pack and show it."""
        with self._lock:
            self._hear(pack, event)

    def _hear(self, pack: Pack, event: dict[str, Any]) -> None:
        row = self.rows.setdefault(pack.name, Row(pack, time.monotonic()))
        if event.get("phase", row.phase) != row.phase:
            row.rate, row.left = 0.0, None
        for name in ("phase", "step", "total", "rate", "left", "success"):
            if name in event:
                setattr(row, name, event[name])
        if row.phase in ENDS:
            self.total += event.get("pieces", 0)  # of one that was cut, which are packs of their own
            self._end(row)
        elif self.live is None:
            self._line(row)
        if self.live:
            self.live.update(self._table())

    def left(self) -> float | None:
        """Seconds until all packs have ended: as estimated, corrected by how those that ended kept to it."""
        if not self.expected:
            return None
        scale = self.took / self.thought if self.thought else 1.0
        now = time.monotonic()
        rest = {name: scale * seconds for name, seconds in self.expected.items()}
        for name, row in self.rows.items():
            spent = now - row.started
            rest[name] = max(rest.get(name, 0.0) - spent, row.left or 0.0)
        return max(sum(rest.values()) / self.jobs, *rest.values())

    def _end(self, row: Row) -> None:
        self.ended += 1
        thought = self.expected.pop(row.pack.name, 0.0)
        if row.phase == "done":
            self.took, self.thought = self.took + time.monotonic() - row.started, self.thought + thought
        del self.rows[row.pack.name]
        first = row.pack.first
        success = "" if row.success is None else f", success {100 * row.success:.0f} %"
        spent = duration(time.monotonic() - row.started)
        counted, left = f"[{self.ended}/{self.total}]", self.left()
        rest = "" if left is None else f"; {spoken(left)} left in all"
        self.say(f"{counted} {first.label} on {first.task}: {row.phase}{success}, {spent}{rest}")

    def _line(self, row: Row) -> None:
        now, (then, phase) = time.monotonic(), row.printed
        if row.phase != phase or now - then >= LINE_SECONDS:
            row.printed = (now, row.phase)
            method, task, seeds, phase, step, rate, left, success = row.cells()
            facts = [
                f"{phase} {step}".strip(),
                f"{rate} steps/s" if rate else "",
                f"{left} left" if left else "",
                success,
            ]
            self.say(f"{method} on {task}, seeds {seeds}: {', '.join(fact for fact in facts if fact)}")

    def _table(self) -> Table:
        left = self.left()
        rest = "" if left is None else f", {spoken(left)} left in all"
        caption = f"{self.ended} of {counted(self.total, 'pack')} ended{rest}"
        table = Table(*self.HEADINGS, box=None, pad_edge=False, caption=caption, caption_justify="left")
        for row in self.rows.values():
            table.add_row(*row.cells())
        return table

    def say(self, text: str) -> None:
        """One plain line, above the live table if there is one."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Bar:
    """Progress of one long piece of work (generating, downloading): a line now and then."""

    def __init__(self, console: Console) -> None:
        self.console, self.last = console, 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self.last > 10.0:
            self.last = now
            self.console.print(f"{what}: {done}/{total}", markup=False, highlight=False, soft_wrap=True)
