"""Environments: the published facts hold, episodes repeat to the last bit, copies equal originals."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from envs._suite import Task
from envs.ogbench._environments import Environment, clone, make, make_several, reset
from envs.ogbench._tasks import domains, tasks

Get = Callable[[str], Environment]

# domain: sum of the first observation of task 1 from seed 0, mujoco 3.3.7
FIRST = {
    "antmaze-large-navigate": 2.351534,
    "antmaze-giant-navigate": 2.351534,
    "humanoidmaze-medium-navigate": -1.975473,
    "humanoidmaze-large-navigate": -1.975473,
    "scene-play": 1.908520,
    "puzzle-3x3-play": 9.131895,
    "puzzle-4x4-play": 16.131895,
    "cube-double-play": 3.358359,
    "cube-triple-play": 2.192166,
    "cube-quadruple-play": 4.904127,
}
MADE_ANYWAY = ("antmaze-large-navigate", "puzzle-3x3-play", "scene-play", "cube-double-play")


def first_task(stem: str) -> Task:
    return tasks()[f"{stem}-singletask-task1-v0"]


def actions(env: Environment, count: int) -> np.ndarray:
    """Random actions (count, A) that in manipulation tend downwards, so that contacts occur."""
    size = env.action_space.shape[0]
    drawn = np.random.default_rng(0).uniform(-1, 1, (count, size)).astype(np.float32)
    if size == 5:
        drawn[:, 2] = np.clip(drawn[:, 2] - 0.3, -1, 1)
    return drawn


def rollout(env: Environment, seed: int, count: int = 60) -> np.ndarray:
    """Observations (count + 1, d) of random actions from this seed."""
    observation, _ = reset(env, seed)
    return np.stack([observation, *(env.step(action)[0] for action in actions(env, count))])


def test_every_manipulation_domain_is_cloned_and_no_maze():
    assert {name for name, domain in domains().items() if domain.clone == "none"} == {
        n for n in domains() if "maze" in n
    }


@pytest.mark.parametrize(
    "stem", [stem if stem in MADE_ANYWAY else pytest.param(stem, marks=pytest.mark.slow) for stem in FIRST]
)
def test_facts_and_first_observation(environment: Get, stem: str):
    task, env = first_task(stem), environment(first_task(stem).name)
    observation, _ = reset(env, 0)
    assert observation.shape == task.observation[0].shape
    assert env.action_space.shape == (task.action_size,)
    assert env.unwrapped._success_timing == task.success_timing
    import gymnasium

    environment_id = task.name.replace(f"-{domains()[task.domain].data}", "")
    assert gymnasium.spec(environment_id).max_episode_steps == task.horizon
    assert observation.sum() == pytest.approx(FIRST[stem], abs=1e-5)


@pytest.mark.parametrize("stem", MADE_ANYWAY)
def test_an_episode_repeats_to_the_last_bit(environment: Get, stem: str):
    env = environment(first_task(stem).name)
    once = rollout(env, 7)
    other = rollout(env, 8)
    np.testing.assert_array_equal(rollout(env, 7), once)
    assert not np.array_equal(once[0], other[0])


def test_the_actions_inside_a_reset_are_pinned(environment: Get):
    first, second = (environment(first_task("puzzle-3x3-play").name).unwrapped.action_space.sample() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_original_environment_starts_the_same_episode(environment: Get):
    """Pinning the actions inside reset must not change what follows it."""
    import ogbench

    name = first_task("cube-double-play").name
    original = ogbench.make_env_and_datasets(name, env_only=True, disable_env_checker=True)
    with pytest.warns(UserWarning, match="precision lowered"):  # of the package's own action space
        theirs = rollout(original, 3)
    np.testing.assert_array_equal(rollout(environment(name), 3), theirs)


@pytest.mark.parametrize(("stem", "own_model"), [("puzzle-3x3-play", False), ("scene-play", True)])
def test_clones_stepped_in_turn_equal_a_fresh_environment(environment: Get, stem: str, own_model: bool):
    first = environment(first_task(stem).name)
    expected = {seed: rollout(first, seed) for seed in (1, 2)}
    one, two = (clone(first, own_model=own_model) for _ in range(2))
    seen: dict[int, list[np.ndarray]] = {1: [reset(one, 1)[0]], 2: [reset(two, 2)[0]]}
    for action in actions(first, 60):
        for seed, env in ((1, one), (2, two)):
            seen[seed].append(env.step(action)[0])
    for seed, observations in seen.items():
        np.testing.assert_array_equal(np.stack(observations), expected[seed])


def test_a_clone_of_the_scene_locks_its_own_drawer(environment: Get):
    first = environment(first_task("scene-play").name)
    reset(first, 0)
    twin = clone(first, own_model=True)
    reset(twin, 0)
    before = first.unwrapped._model.dof_damping.copy()
    twin.unwrapped._cur_button_states = 1 - twin.unwrapped._cur_button_states
    twin.unwrapped._apply_button_states()
    np.testing.assert_array_equal(first.unwrapped._model.dof_damping, before)
    assert not np.array_equal(twin.unwrapped._model.dof_damping, before)


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["cube-double-play", "scene-play"])
def test_several_environments_equal_new_ones(environment: Get, stem: str):
    expected = rollout(make(first_task(stem)), 5)
    for env in make_several(first_task(stem), 2):
        np.testing.assert_array_equal(rollout(env, 5), expected)


def test_mazes_leave_no_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    env = make(first_task("antmaze-large-navigate"))
    reset(env, 0)
    assert list(tmp_path.iterdir()) == []
    assert tempfile.tempdir == str(tmp_path)


@pytest.mark.parametrize("backend", ["egl", "osmesa"])
def test_nothing_is_loaded_for_drawing(backend: str):
    """Whatever the shell asks for: a machine may lack the libraries, and training draws nothing. (Gymnasium imports
    glfw, which brings its own.)"""
    code = """
import sys
from envs import load_suite
from envs._suite import Start
suite = load_suite("ogbench")
pool = suite.pool(suite.tasks()["puzzle-3x3-play-singletask-task1-v0"], 1, 0)
pool.reset({0: Start(0, "evaluation")})
pool.close()
print(sorted(name for name in sys.modules if name.startswith(("OpenGL", "mujoco.egl", "mujoco.osmesa"))))
"""
    variables = os.environ | {"MUJOCO_GL": backend}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=variables, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
