"""Ants on an open floor and what they saw: the data that `envs.ogbench.train_ant` learns from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from envs.ogbench._controller import ACTION, OBSERVATION, observe, rotation, to_actuators
from envs.ogbench._environments import draw_nothing

COPIES = 16
"""Simulations side by side."""
CAPACITY = 700_000
EPISODE, TURN_CHANCE = 200, 1 / 50
"""Steps before a new start; chance that the direction changes in a step."""
STEP_SECONDS, SUBSTEPS, ACTION_PRICE = 0.1, 5, 0.02
MIRRORED_SIGNS = np.ones(OBSERVATION)
MIRRORED_SIGNS[[2, 5, 16, 18, 20]] = -1.0
SWAPPED_SLOTS = np.array([3, 2, 1, 0])
MOTION = ("qpos", "qvel", "qacc_warmstart")
"""What the simulator carries from one step to the next."""


class Rows(NamedTuple):
    """Transitions: (n, 29), (n, 8), (n,), (n,) (0 where the ant fell), (n, 29)."""

    observation: Any
    action: Any
    reward: Any
    mask: Any
    following: Any


def mirrored(observations: np.ndarray) -> np.ndarray:
    """The mirror image of observations (n, 29): signs, and the slots of angles and rates swapped."""
    image = observations * MIRRORED_SIGNS
    for first in (7, 21):
        image[:, first : first + 8] = mirrored_action(observations[:, first : first + 8])
    return image


def mirrored_action(actions: np.ndarray) -> np.ndarray:
    """The mirror image of four slots of (hip, ankle), (n, 8): hips change sign, slots change sides."""
    slots = actions.reshape(-1, 4, 2)[:, SWAPPED_SLOTS] * np.array([-1.0, 1.0])
    return slots.reshape(-1, 8)


class Replay:
    """The last CAPACITY transitions."""

    def __init__(self) -> None:
        widths = ((OBSERVATION,), (ACTION,), (), (), (OBSERVATION,))
        self.rows = Rows(*(np.zeros((CAPACITY, *width), np.float32) for width in widths))
        self.size = self.place = 0

    def add(self, rows: Rows) -> None:
        """Transitions and their mirror images."""
        image = rows._replace(
            observation=mirrored(rows.observation),
            action=mirrored_action(rows.action),
            following=mirrored(rows.following),
        )
        for each in (rows, image):
            at = (self.place + np.arange(len(each.reward))) % CAPACITY
            for column, values in zip(self.rows, each, strict=True):
                column[at] = values
            self.place = int(at[-1] + 1) % CAPACITY
            self.size = min(CAPACITY, self.size + len(at))

    def batches(self, random: np.random.Generator, count: int, size: int) -> Rows:
        """``count`` batches of ``size`` rows each."""
        at = random.integers(self.size, size=(count, size))
        return Rows(*(column[at] for column in self.rows))


class Ants:
    """COPIES ants on the open floor, in lock step; starts are staggered."""

    def __init__(self, random: np.random.Generator) -> None:
        draw_nothing()
        import mujoco
        import ogbench.locomaze

        self._mujoco: Any = mujoco
        file = Path(ogbench.locomaze.__file__).parent / "assets" / "ant.xml"
        self.model = self._mujoco.MjModel.from_xml_path(str(file))
        self.data = [self._mujoco.MjData(self.model) for _ in range(COPIES)]
        self.random = random
        self.age = np.zeros(COPIES, int)
        self.directions = np.zeros((COPIES, 2))
        for ant in range(COPIES):
            self._start(ant)
        self.age = random.integers(EPISODE, size=COPIES)

    def _start(self, ant: int) -> None:
        data, random = self.data[ant], self.random
        self._mujoco.mj_resetData(self.model, data)
        data.qpos[:] = data.qpos + random.uniform(-0.1, 0.1, self.model.nq)
        half = random.uniform(-np.pi, np.pi) / 2
        data.qpos[3:7] = [math.cos(half), 0.0, 0.0, math.sin(half)]
        data.qvel[:] = 0.1 * random.standard_normal(self.model.nv)
        self._mujoco.mj_forward(self.model, data)
        self.age[ant] = 0
        self._turn(ant)

    def _turn(self, ant: int) -> None:
        angle = self.random.uniform(-np.pi, np.pi)
        self.directions[ant] = math.cos(angle), math.sin(angle)

    def _seen(self, ant: int) -> tuple[np.ndarray, int]:
        return observe(self.data[ant].qpos, self.data[ant].qvel, self.directions[ant])

    def observations(self) -> np.ndarray:
        """(COPIES, 29)."""
        return np.stack([self._seen(ant)[0] for ant in range(COPIES)])

    def step(self, actions: np.ndarray) -> Rows:
        """Act with slots (COPIES, 8); both observations of a transition look along its own direction."""
        rows = []
        for ant, action in enumerate(actions):
            data = self.data[ant]
            before, turns = self._seen(ant)
            place = data.qpos[:2].copy()
            data.ctrl[:] = to_actuators(action, turns)
            self._mujoco.mj_step(self.model, data, SUBSTEPS)
            way = (data.qpos[:2] - place) @ self.directions[ant] / STEP_SECONDS
            fell = rotation(data.qpos[3:7])[2, 2] < 0 or not 0.2 <= data.qpos[2] <= 1.3
            rows.append((before, action, way - ACTION_PRICE * np.sum(action**2), 1.0 - fell, self._seen(ant)[0]))
            self.age[ant] += 1
            if fell or self.age[ant] >= EPISODE:
                self._start(ant)
            elif self.random.uniform() < TURN_CHANCE:
                self._turn(ant)
        return Rows(*(np.asarray(column, np.float32) for column in zip(*rows, strict=True)))
