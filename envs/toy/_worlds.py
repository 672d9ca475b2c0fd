"""Toy worlds: a coffee break in which a method shows that it learns.

Each is told by its first action component, taken over chunks of two steps; the second is a distraction. A context of
+-1 in the observation says which side is the good one, so that the answer has to be read from the critic.

- ``bandit``: the behaviour picks either side, one is right. Value 0 or -1; cloning succeeds half of the time.
- ``corridor``: each chunk walks one way or the other; the goal lies at one end, a pit at the other; -1 for each step,
  -10 for the pit. The best value at the start is -(1 + 0.9 + ... + 0.9^4) with five steps before the sixth succeeds.
- ``between``: both sides are right, the middle, where the behaviour's mean lies, is wrong. Cloning succeeds 3 in 5
  times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs._suite import (
    Identity,
    Rows,
    Start,
    Steps,
    SuiteError,
    Task,
)

VERSION = 1
TRAJECTORY = 16
"""Rows of a recorded trajectory; like play data it goes on after a task was solved."""
SIDE, NOISE, STRIDE = 0.6, 0.1, 0.25
POSITION, CONTEXT, CLOCK = 0, 1, 2


@dataclass(frozen=True)
class Outcome:
    """One step: the new state (4,), its reward, whether the episode is over, whether it succeeded."""

    state: np.ndarray
    reward: float
    over: bool
    success: bool


@dataclass(frozen=True)
class World:
    """``sides``: what the behaviour's chunks aim at, as multiples of SIDE, with ``odds``; ``advance``: the dynamics."""

    sides: tuple[float, ...]
    odds: tuple[float, ...]
    advance: Callable[[np.ndarray, np.ndarray], Outcome]


def start(rng: np.random.Generator) -> np.ndarray:
    """A first state: near the middle, either context."""
    return np.array([rng.uniform(-0.05, 0.05), rng.choice([-1.0, 1.0]), 0.0, 1.0], np.float32)


def _moved(state: np.ndarray, distance: float) -> np.ndarray:
    moved = state.copy()
    moved[POSITION] += distance
    moved[CLOCK] = 1.0 - moved[CLOCK]
    return moved


def _decided(state: np.ndarray, action: np.ndarray, right: Callable[[float, float], bool]) -> Outcome:
    """One decision of two steps: their mean is judged after the second."""
    moved = _moved(state, float(action[0]) / 2)
    if state[CLOCK] == 0.0:
        return Outcome(moved, 0.0, False, False)
    success = right(float(moved[POSITION]), float(moved[CONTEXT]))
    return Outcome(moved, 0.0 if success else -1.0, True, success)


def _bandit(state: np.ndarray, action: np.ndarray) -> Outcome:
    return _decided(state, action, lambda mean, context: mean * context >= 0.3)


def _between(state: np.ndarray, action: np.ndarray) -> Outcome:
    return _decided(state, action, lambda mean, context: 0.35 <= abs(mean) <= 0.95)


def _corridor(state: np.ndarray, action: np.ndarray) -> Outcome:
    moved = _moved(state, STRIDE * float(action[0]))
    way = float(moved[POSITION] * moved[CONTEXT])
    if way <= -0.8:
        return Outcome(moved, -10.0, True, False)
    return Outcome(moved, 0.0 if way >= 0.8 else -1.0, way >= 0.8, way >= 0.8)


WORLDS = {
    "bandit": World((-1.0, 1.0), (0.5, 0.5), _bandit),
    "corridor": World((-1.0, 1.0), (0.5, 0.5), _corridor),
    "between": World((-1.0, 0.0, 1.0), (0.3, 0.4, 0.3), _between),
}


def recorded(task: Task, identity: Identity) -> Rows:
    """Trajectories of TRAJECTORY rows by the behaviour; a decided world starts over inside its trajectory."""
    world, rng = WORLDS[task.domain], np.random.default_rng(identity["seed"])
    columns: dict[str, list[Any]] = {name: [] for name in Rows.__dataclass_fields__}
    finals = []
    for _ in range(identity["episodes"]):
        state, aim = start(rng), 0.0
        for step in range(TRAJECTORY):
            if step % task.chunk_length == 0:
                aim = SIDE * rng.choice(world.sides, p=world.odds)
            action = np.clip([aim, 0.0] + NOISE * rng.standard_normal(2), -1.0, 1.0).astype(np.float32)
            outcome = world.advance(state, action)
            following = start(rng) if outcome.over else outcome.state
            row = (state, action, outcome.reward, 1.0 - outcome.over, float(step == TRAJECTORY - 1))
            for name, value in zip(columns, row, strict=True):
                columns[name].append(value)
            state = following
        finals.append(state)
    columns["observations"] += finals
    return Rows(**{name: np.asarray(values, np.float32) for name, values in columns.items()})


@dataclass
class Slot:
    state: np.ndarray
    rewards: list[float] = field(default_factory=list)
    over: bool = False


class WorldPool:
    """Slots of one world, in this process."""

    def __init__(self, task: Task) -> None:
        self._task, self._world = task, WORLDS[task.domain]
        self._slots: dict[int, Slot] = {}

    def reset(self, starts: Mapping[int, Start]) -> dict[int, np.ndarray]:
        for slot, each in starts.items():
            self._slots[slot] = Slot(start(np.random.default_rng(each.seed)))
        return {slot: self._slots[slot].state for slot in starts}

    def step(self, chunks: Mapping[int, np.ndarray]) -> dict[int, Steps]:
        return {slot: self._steps(self._slots[slot], chunk) for slot, chunk in chunks.items()}

    def _steps(self, slot: Slot, chunk: np.ndarray) -> Steps:
        if slot.over:
            raise ValueError("this slot's episode is over; reset it first")
        if not np.isfinite(chunk).all():
            raise SuiteError("an action is not a finite number; the policy has diverged, lower its learning rate")
        columns: list[tuple[np.ndarray, float, bool, bool]] = []
        measures = None
        for action in np.clip(chunk, -1.0, 1.0):
            outcome = self._world.advance(slot.state, action)
            slot.state = outcome.state
            slot.rewards.append(outcome.reward)
            truncated = not outcome.over and len(slot.rewards) == self._task.horizon
            columns.append((outcome.state, outcome.reward, outcome.over, truncated))
            if outcome.over or truncated:
                slot.over, length = True, len(slot.rewards)
                success = float(outcome.success)
                measures = {"success": success, "return": float(sum(slot.rewards)), "length": float(length)}
                break
        states, rewards, terminated, cut = zip(*columns, strict=True)
        return Steps(
            np.stack(states), np.asarray(rewards, np.float32), np.asarray(terminated), np.asarray(cut), measures
        )

    def close(self) -> None:
        self._slots.clear()
