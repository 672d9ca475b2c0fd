"""The procedures that generate data are the published ones, and stay what they are under their version."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from envs.ogbench import _ants, _episodes, _navigate, _sac, train_ant
from envs.ogbench._episodes import Recorder
from envs.ogbench._generate import recorder
from envs.ogbench._navigate import MazeRecorder, is_vertex
from envs.ogbench._tasks import VERSIONS, Generation, domains

BY_ENVIRONMENT = {domain.environment: domain for domain in domains().values()}

# OGBench's collection scripts: sub-goals, range of p_stack, share of random actions, gripper, redo on a lost cube
PLAY = ("play", "noisy")
PUBLISHED = {
    "antmaze-large": Generation(("navigate", "reach")),
    "antmaze-giant": Generation(("navigate", "reach")),
    "humanoidmaze-medium": None,
    "humanoidmaze-large": None,
    "cube-double": Generation(PLAY, ("cube",), (0.0, 0.25), 0.1, False, False),
    "cube-triple": Generation(PLAY, ("cube",), (0.05, 0.35), 0.1, False, False),
    "cube-quadruple": Generation(PLAY, ("cube",), (0.1, 0.5), 0.1, False, False),
    "scene": Generation(PLAY, ("cube", "button", "drawer", "window"), (0.5, 0.5), 0.1, False, True),
    "puzzle-3x3": Generation(PLAY, ("button",), (0.5, 0.5), 0.2, True, False),
    "puzzle-4x4": Generation(PLAY, ("button",), (0.5, 0.5), 0.2, True, False),
}

# (version, sum of the observations, sum of the actions) of the first 20 rows of seed 0's first training episode
FIRST_ROWS = {
    ("antmaze-large", "navigate"): (1, 572.8246, 4.4881),
    ("antmaze-large", "reach"): (1, 572.8246, 4.4881),
    ("antmaze-giant", "navigate"): (1, 1537.4164, 2.3532),
    ("antmaze-giant", "reach"): (1, 1537.4164, 2.3532),
    ("cube-double", "play"): (1, -97.2732, 0.3449),
    ("cube-double", "noisy"): (2, -90.0036, -8.4164),
    ("cube-triple", "play"): (1, -80.1173, -2.1875),
    ("cube-triple", "noisy"): (2, -79.3024, -12.0461),
    ("cube-quadruple", "play"): (1, -17.2090, 10.1266),
    ("cube-quadruple", "noisy"): (2, -16.3704, -7.0989),
    ("scene", "play"): (1, 82.1054, 7.5324),
    ("scene", "noisy"): (2, 85.8860, 18.8031),
    ("puzzle-3x3", "play"): (1, 171.1502, -2.3034),
    ("puzzle-3x3", "noisy"): (2, 157.2322, 13.5681),
    ("puzzle-4x4", "play"): (1, 291.3217, -4.4633),
    ("puzzle-4x4", "noisy"): (2, 277.0987, 12.8230),
}


def test_the_numbers_of_each_domain():
    assert {name: domain.generation for name, domain in BY_ENVIRONMENT.items()} == PUBLISHED


def test_the_numbers_that_all_share():
    assert (_episodes.NOISE_SHAPE.tolist(), _episodes.NOISE_LEVEL, _navigate.NOISE) == ([1, 1, 1, 3, 10], 0.1, 0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("environment", "procedure"), FIRST_ROWS)
def test_a_version_stands_for_its_data(environment: str, procedure: str):
    """Whoever changes these sums on purpose counts the procedure's version up."""
    domain = dataclasses.replace(BY_ENVIRONMENT[environment], rows=21)
    columns = recorder(domain, procedure, 0).episode("train", 0)
    found = [columns[name][:20].sum(dtype=np.float64) for name in ("observations", "actions")]
    version, *sums = FIRST_ROWS[environment, procedure]
    assert version == VERSIONS[procedure]
    # Two kinds of processors, which round differently, were seen 0.05 apart in the observations of a touched scene; any
    # other noise, sub-goal or oracle moves both sums by more than 1.
    for one, wanted, tolerance in zip(found, sums, (0.1, 2e-3), strict=True):
        assert one == pytest.approx(wanted, abs=tolerance)


class Idle:
    """An oracle that does nothing, and counts how often it is asked."""

    done = False
    asked = 0

    def reset(self, observation: Any, info: Any) -> None: ...

    def select_action(self, observation: Any, info: Any) -> np.ndarray:
        self.asked += 1
        return np.zeros(5)


@pytest.fixture(scope="module")
def noisy() -> Recorder:
    return Recorder(dataclasses.replace(BY_ENVIRONMENT["puzzle-3x3"], rows=400), "noisy", 0)


def test_noise_and_random_actions(noisy: Recorder, monkeypatch: pytest.MonkeyPatch):
    """A fifth of the actions is uniform and not the oracle's; the others are disturbed, yaw three times as much."""
    idle = Idle()
    monkeypatch.setattr(noisy, "_oracles", {"button": idle})
    actions = noisy.episode("train", 1)["actions"]
    uniform = np.abs(actions[:, :3]).max(axis=1) > 0.5  # as seven of eight uniform ones are, and no disturbed one
    assert 40 < uniform.sum() * 8 / 7 < 120
    assert idle.asked + round(uniform.sum() * 8 / 7) == pytest.approx(400, abs=15)
    disturbed = np.median(np.abs(actions[~uniform]), axis=0)  # which the few uniform ones among them hardly move
    assert 0 < disturbed[:3].max() < 0.1
    assert disturbed[3] / disturbed[:3].mean() == pytest.approx(3, rel=0.2)


def test_stacking_is_drawn_for_each_episode(noisy: Recorder, monkeypatch: pytest.MonkeyPatch):
    """Within the range of the domain; the sub-goals of an episode share it."""
    seen: list[float] = []
    puzzle = noisy._env.unwrapped
    before = puzzle.set_new_target

    def noted(**words: Any) -> Any:
        seen.extend([words["p_stack"]] if "p_stack" in words else [])  # the reset's own does not say
        return before(**words)

    monkeypatch.setattr(puzzle, "set_new_target", noted)
    monkeypatch.setattr(noisy, "_generation", dataclasses.replace(noisy._generation, stacking=(0.1, 0.3)))
    drawn = []
    for number in range(4):
        seen.clear()
        noisy.episode("train", number)
        assert len(seen) > 2
        assert len(set(seen)) == 1
        drawn.append(seen[-1])
    assert 0.1 <= min(drawn) < max(drawn) <= 0.3


def test_an_episode_that_loses_the_cube_is_made_again(noisy: Recorder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(noisy, "_generation", dataclasses.replace(noisy._generation, keep_cube_inside=True))
    seeds = []

    def attempt(sequence: np.random.SeedSequence) -> dict[str, np.ndarray]:
        seeds.append(sequence.entropy)
        qpos = np.zeros((3, 25))
        qpos[1, 15] = 0.5 if len(seeds) < 3 else 0.0
        return {"qpos": qpos}

    monkeypatch.setattr(noisy, "_attempt", attempt)
    assert noisy.episode("train", 7)["qpos"][1, 15] == 0.0
    assert [entropy[-2:] for entropy in seeds] == [[7, 0], [7, 1], [7, 2]]


@pytest.mark.slow
def test_goals_are_vertices_with_noise():
    walker = MazeRecorder(dataclasses.replace(BY_ENVIRONMENT["antmaze-large"], rows=1001), "reach", 3)
    maze, before = walker._maze, walker._maze.set_goal
    goals: list[np.ndarray] = []

    def noted(**words: Any) -> None:
        goals.append(np.array(words["goal_xy"]))
        before(**words)

    maze.set_goal = noted
    for number in range(3):
        walker.episode("train", number)
    cells = [maze.xy_to_ij(goal) for goal in goals]
    assert all(is_vertex(maze.maze_map, cell) for cell in cells)
    aside = np.array([goal - maze.ij_to_xy(cell) for goal, cell in zip(goals, cells, strict=True)])
    assert np.abs(aside).max() <= 1.0
    assert aside.std(axis=0).min() > 0.3  # uniform in +-1: 0.58


def test_the_recipe_of_the_ants_training():
    """Soft actor-critic as it was tuned for the ant; what the numbers do is tested beside the training."""
    assert (_sac.DISCOUNT, _sac.TARGET_RATE, _sac.LEARNING_RATE, _sac.WIDTH) == (0.98, 0.005, 3e-4, 256)
    assert (_sac.TARGET_ENTROPY, _sac.FIRST_TEMPERATURE, _sac.LOG_STD, _sac.LEAST_SPREAD) == (-4, 0.2, (-5, 1), 0.05)
    assert (_ants.COPIES, _ants.CAPACITY, _ants.EPISODE, _ants.TURN_CHANCE) == (16, 700_000, 200, 1 / 50)
    assert (_ants.STEP_SECONDS, _ants.SUBSTEPS, _ants.ACTION_PRICE) == (0.1, 5, 0.02)
    assert (train_ant.STEPS_A_ROUND, train_ant.UPDATES_A_ROUND, train_ant.BATCH) == (4, 32, 256)
    assert (train_ant.UNIFORM_STEPS, train_ant.NORMALISED_UNTIL, train_ant.NORMALISER_ROWS) == (5_000, 60_000, 5_000)
