"""The world that is told by pixels: a corridor whose goal can only be seen.

Chunks of two steps; the first component of an action walks, the second is a distraction. The goal lies at one end, and
where it is shows in the frame alone. A decision costs -1, and 0 if it arrives; nothing else ends an episode before its
horizon. At full stride the goal is two decisions away: the best value at the start is -1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs._suite import Leaf, Rows, Start, Steps, SuiteError, Task

SIZE, BRIGHT, DIM = 8, 255, 120
STRIDE, GOAL = 0.25, 0.55
OBSERVATION = (Leaf("camera", (SIZE, SIZE, 1), "uint8"), Leaf("wrist", (SIZE, SIZE, 1), "uint8"), Leaf("state", (2,)))
"""What replay keeps: the world from afar, the half of it where one stands, and position and clock."""
PROMPT = (Leaf("prompt", (2,)),)
"""What only a base may see: which of two manners of walking is asked for, in this episode."""


@dataclass
class Slot:
    """An episode: the side of the goal (-1 or 1), the manner of walking (0 or 1), the position, the steps so far."""

    goal: float
    manner: int
    position: float
    steps: int = 0
    rewards: list[float] = field(default_factory=list)
    over: bool = False


def begun(start: Start) -> Slot:
    """A first state: near the middle, either goal. Training and evaluation draw from streams of their own."""
    rng = np.random.default_rng([start.seed, int(start.kind == "training")])
    return Slot(float(rng.choice([-1.0, 1.0])), int(rng.integers(2)), float(rng.uniform(-0.05, 0.05)))


def shown(slot: Slot, prompted: bool) -> dict[str, np.ndarray]:
    """The observation: the goal is bright at the left or right edge, one's place is dim."""
    camera = np.zeros((SIZE, SIZE, 1), np.uint8)
    camera[2:6, 0:2] = BRIGHT if slot.goal < 0 else 0
    camera[2:6, 6:8] = BRIGHT if slot.goal > 0 else 0
    place = int(np.clip(round((slot.position + 1.0) / 2.0 * (SIZE - 1)), 0, SIZE - 1))
    camera[7, place] = DIM
    wrist = np.repeat(camera[:, :4] if slot.position < 0 else camera[:, 4:], 2, axis=1)
    found = {"camera": camera, "wrist": wrist, "state": np.array([slot.position, slot.steps % 4 / 4], np.float32)}
    return found | ({"prompt": np.eye(2, dtype=np.float32)[slot.manner]} if prompted else {})


class PixelPool:
    """Slots of the world, in this process."""

    def __init__(self, task: Task) -> None:
        self._task, self._prompted = task, bool(task.seen)
        self._slots: dict[int, Slot] = {}

    def reset(self, starts: Mapping[int, Start]) -> dict[int, Any]:
        self._slots |= {slot: begun(start) for slot, start in starts.items()}
        return {slot: shown(self._slots[slot], self._prompted) for slot in starts}

    def step(self, chunks: Mapping[int, np.ndarray]) -> dict[int, Steps]:
        return {slot: self._decision(self._slots[slot], chunk) for slot, chunk in chunks.items()}

    def _decision(self, slot: Slot, chunk: np.ndarray) -> Steps:
        if slot.over:
            raise ValueError("this slot's episode is over; reset it first")
        if not np.isfinite(chunk).all():
            raise SuiteError("an action is not a finite number; the policy has diverged, lower its learning rate")
        before, success = slot.steps, False
        for action in np.clip(chunk, -1.0, 1.0):
            slot.position += STRIDE * float(action[0])
            slot.steps += 1
            success = slot.position * slot.goal >= GOAL
            slot.over = success or slot.steps == self._task.horizon
            if slot.over:
                break
        reward = 0.0 if success else -1.0
        slot.rewards.append(reward)
        measures = None
        if slot.over:
            total = float(sum(slot.rewards))
            measures = {"success": float(success), "return": total, "length": float(slot.steps)}
        obs = {name: leaf[None] for name, leaf in shown(slot, self._prompted).items()}
        ends = np.array([success]), np.array([slot.over and not success])
        return Steps(obs, np.array([reward], np.float32), *ends, measures, executed=slot.steps - before)

    def close(self) -> None:
        self._slots.clear()


def nothing(task: Task) -> Rows:
    """No rows: everything is learned online."""
    observations = {leaf.name: np.zeros((0, *leaf.shape), leaf.type) for leaf in task.observation}
    empty = np.zeros(0, np.float32)
    return Rows(observations, np.zeros((0, task.action_size), np.float32), empty, empty, empty)
