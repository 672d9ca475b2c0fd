"""A controller that walks the ant in a given direction, from its state alone.

The open floor is symmetric under every turn about the vertical axis, and the ant under quarter turns and a mirror. The
controller uses this exactly: it turns the world until the wanted direction is +x, takes the leg that is then nearest to
the front as the first, and so never learns a direction or a heading. Its weights are ``ant_controller.npz``;
`envs.ogbench.train_ant` makes such a file anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

WEIGHTS = Path(__file__).with_name("ant_controller.npz")
OBSERVATION, ACTION = 29, 8
LEGS = 4
ANKLE_SIGN = np.array([1.0, -1.0, -1.0, 1.0])
"""Makes every ankle bend the same way for the same number."""
ACTUATOR_LEG = (3, 0, 1, 2)
"""The leg that each pair of actuators drives."""
BOUND = 8.0
"""Normalised observations are clipped to this."""


def rotation(quaternion: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) of (w, x, y, z)."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def observe(qpos: np.ndarray, qvel: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, int]:
    """What the controller sees (29,) of a state (15,), (14,) and a unit ``direction`` (2,) of the floor, and the number
    of quarter turns k that its legs are shifted by.

    Height, the turned body's x and z axes, joint angles, linear and angular velocity, joint velocities: no position,
    no heading and no direction.
    """
    x, y = direction
    world = np.array([[x, y, 0.0], [-y, x, 0.0], [0.0, 0.0, 1.0]])  # D
    body = world @ rotation(qpos[3:7])  # D R
    turns = round(np.arctan2(body[1, 0], body[0, 0]) / (np.pi / 2)) % LEGS
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
    about_z = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])  # Z
    turned = body @ about_z.T  # B: its heading lies within 45 degrees of the direction
    velocity, spin = world @ qvel[:3], about_z @ qvel[3:6]
    angles, rates = _to_slots(qpos[7:], turns), _to_slots(qvel[6:], turns)
    return np.concatenate([qpos[2:3], turned[:, 0], turned[:, 2], angles, velocity, spin, rates]), turns


def _to_slots(joints: np.ndarray, turns: int) -> np.ndarray:
    """(hip, ankle) of four legs (8,), ankles signed alike, shifted by ``turns``."""
    legs = joints.reshape(LEGS, 2) * np.stack([np.ones(LEGS), ANKLE_SIGN], axis=1)
    return np.roll(legs, turns, axis=0).ravel()


def to_actuators(slots: np.ndarray, turns: int) -> np.ndarray:
    """The action (8,) of the simulator from one for each slot (8,)."""
    legs = np.roll(slots.reshape(LEGS, 2), -turns, axis=0) * np.stack([np.ones(LEGS), ANKLE_SIGN], axis=1)
    return legs[list(ACTUATOR_LEG)].ravel()


@dataclass(frozen=True)
class Controller:
    """Two layers of ReLU and a tanh, on a normalised observation."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    mean: np.ndarray
    inverse_spread: np.ndarray

    @classmethod
    def load(cls, file: Path = WEIGHTS) -> Controller:
        """Read from a file of plain arrays ``w0 b0 w1 b1 w2 b2 obs_mean obs_istd``."""
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name].astype(np.float64) for name in stored.files}
        weights, biases = (tuple(arrays[f"{kind}{layer}"] for layer in range(3)) for kind in "wb")
        return cls(weights, biases, arrays["obs_mean"], arrays["obs_istd"])

    def act(self, qpos: np.ndarray, qvel: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """The action (8,) in [-1, 1] that walks along ``direction``."""
        seen, turns = observe(qpos, qvel, direction)
        x = np.clip((seen - self.mean) * self.inverse_spread, -BOUND, BOUND)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.maximum(x @ weight + bias, 0.0)
        return to_actuators(np.tanh(x @ self.weights[-1] + self.biases[-1]), turns)


@cache
def published() -> Controller:
    """The controller that this project's maze data are made with."""
    return Controller.load()
