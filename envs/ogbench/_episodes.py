"""One episode of generated data: a scripted oracle pursues random sub-goals. See OGBench's data collection scripts."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from envs.ogbench._environments import make_for_collection, reset, seed_global_numpy
from envs.ogbench._files import as_columns
from envs.ogbench._tasks import Domain

NOISE_SHAPE = np.array([1.0, 1.0, 1.0, 3.0, 10.0])
"""Noise of the "noisy" procedure relative to its level: x, y, z, yaw, gripper (OGBench's collection scripts)."""

NOISE_LEVEL = 0.1
"""Largest noise level of an episode; the level is uniform below it (OGBench's collection scripts)."""


class Recorder:
    """Records episodes of one domain by one procedure, each determined by its numbers alone."""

    def __init__(self, domain: Domain, procedure: str, seed: int) -> None:
        if domain.generation is None:
            raise ValueError(f"{domain.name} has no generator")
        self._domain, self._generation = domain, domain.generation
        self._noisy = procedure == "noisy"
        self._seed = seed
        self._env = make_for_collection(domain)
        self._oracles = {target: self._oracle(target) for target in domain.generation.targets}

    def episode(self, split: str, number: int) -> dict[str, np.ndarray]:
        """The file columns of an episode, (rows, width) each; redone while the simulation loses the cube."""
        attempt = 0
        while True:
            words = [self._seed, zlib.crc32(split.encode()), number, attempt]
            columns = self._attempt(np.random.SeedSequence(words))
            if not self._generation.keep_cube_inside or _cube_inside(columns["qpos"]):
                return columns
            attempt += 1

    def _attempt(self, sequence: np.random.SeedSequence) -> dict[str, np.ndarray]:
        for_oracle, for_reset, ours = (int(word) for word in sequence.generate_state(3))
        observation, info = reset(self._env, for_reset)
        seed_global_numpy(for_oracle)
        random = np.random.default_rng(ours)
        stacking = random.uniform(*self._generation.stacking)
        level = random.uniform(0, NOISE_LEVEL)
        oracle = self._pursue(observation, info)
        rows: list[dict[str, Any]] = []
        truncated = False
        while not truncated:
            if self._noisy and random.uniform() < self._generation.random_actions:
                action = random.uniform(-1, 1, self._domain.action_size)  # and the oracle does not notice
            else:
                action = oracle.select_action(observation, info)
                if self._noisy:
                    action = action + random.normal(0, level * NOISE_SHAPE)
            action = np.clip(action, -1, 1)
            following, _, _, truncated, info = self._env.step(action)
            state = {name: info[f"prev_{name}"] for name in self._domain.columns}
            rows.append({"observations": observation, "actions": action, "terminals": truncated, **state})
            observation = following
            if oracle.done:  # the first action towards a new target still sees the old one's info, as when published
                oracle = self._pursue(*self._env.unwrapped.set_new_target(p_stack=stacking))
        return as_columns(rows)

    def _pursue(self, observation: np.ndarray, info: dict[str, Any]) -> Any:
        """The oracle of the current sub-goal, made ready for it."""
        oracle = self._oracles[info["privileged/target_task"]]
        oracle.reset(observation, info)
        return oracle

    def _oracle(self, target: str) -> Any:
        """The package's oracle for one kind of sub-goal, with the settings of its collection scripts."""
        if self._noisy:
            from ogbench.manipspace.oracles.markov import button_markov, cube_markov, drawer_markov, window_markov

            settings: dict[str, Any] = {"min_norm": 0.4}
            classes = {
                "cube": cube_markov.CubeMarkovOracle,
                "button": button_markov.ButtonMarkovOracle,
                "drawer": drawer_markov.DrawerMarkovOracle,
                "window": window_markov.WindowMarkovOracle,
            }
        else:
            from ogbench.manipspace.oracles.plan import button_plan, cube_plan, drawer_plan, window_plan

            settings = {"noise": 0.1, "noise_smoothing": 0.5}
            classes = {
                "cube": cube_plan.CubePlanOracle,
                "button": button_plan.ButtonPlanOracle,
                "drawer": drawer_plan.DrawerPlanOracle,
                "window": window_plan.WindowPlanOracle,
            }
        if target == "button":
            settings["gripper_always_closed"] = self._generation.gripper_closed
        return classes[target](env=self._env, **settings)


def _cube_inside(qpos: np.ndarray) -> bool:
    """Whether the cube stayed where the arm can reach it: it may lie low at y <= -0.3 m only inside the drawer."""
    y, z = qpos[:, 15], qpos[:, 16]
    in_drawer = (z >= 0.06) & (z <= 0.08)
    return not ((y >= 0.29) | ((y <= -0.3) & ~in_drawer)).any()
