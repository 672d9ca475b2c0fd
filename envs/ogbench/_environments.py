"""Making, copying and resetting OGBench environments. The simulator is imported inside the functions."""

from __future__ import annotations

import copy
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from envs._suite import Task
from envs.ogbench._tasks import Domain, domains

Environment = Any
"""A gymnasium environment; its type is not named because the simulator is imported late."""


def draw_nothing() -> None:
    """Before a simulator is imported: it loads no library for drawing, which a machine without a screen may lack."""
    os.environ["MUJOCO_GL"] = "off"


def make(task: Task) -> Environment:
    """A new environment of this task with the task's step limit, not yet reset."""
    draw_nothing()
    import ogbench

    with _no_traces():
        env = ogbench.make_env_and_datasets(
            task.name, env_only=True, disable_env_checker=True, max_episode_steps=task.horizon
        )
    _pin_actions_of_reset(env, task.action_size)
    return env


def make_for_collection(domain: Domain) -> Environment:
    """A new manipulation environment that scatters its objects and draws sub-goals, for episodes of ``domain.rows``."""
    draw_nothing()
    import gymnasium
    import ogbench  # noqa: F401 -- registers the environments

    with _no_traces():
        return gymnasium.make(
            f"{domain.environment}-v0",
            terminate_at_goal=False,
            mode="data_collection",
            max_episode_steps=domain.rows,
            disable_env_checker=True,
        )


def make_for_navigation(domain: Domain) -> Environment:
    """A new maze that goes on after its goals are reached, for episodes of ``domain.rows``."""
    draw_nothing()
    import gymnasium
    import ogbench  # noqa: F401 -- registers the environments

    with _no_traces():
        return gymnasium.make(
            f"{domain.environment}-v0",
            terminate_at_goal=False,
            max_episode_steps=domain.rows,
            disable_env_checker=True,
        )


def make_several(task: Task, count: int) -> list[Environment]:
    """``count`` environments of this task, each equal to a new one to the last bit.

    Compiling a manipulation environment costs seconds and hundreds of megabytes, so one is made and copied. Copies
    share an inverse-kinematics solver: use them from one thread.
    """
    kind = domains()[task.domain].clone
    if kind == "none":
        return [make(task) for _ in range(count)]
    first = make(task)
    reset(first, 0)  # the first reset compiles the model
    return [first, *(clone(first, own_model=kind == "model") for _ in range(count - 1))]


def clone(env: Environment, *, own_model: bool) -> Environment:
    """A copy of a compiled manipulation environment with simulator state (and, if asked, model) of its own."""
    from mujoco import MjData  # pyright: ignore[reportAttributeAccessIssue] -- the package has no stub for it

    if env is not env.unwrapped:
        wrapper = copy.copy(env)
        wrapper.env = clone(env.env, own_model=own_model)
        return wrapper
    twin = copy.copy(env)
    for name, value in vars(env).items():
        if isinstance(value, np.ndarray):
            setattr(twin, name, value.copy())
    twin._np_random = None
    if own_model:
        twin._model = copy.copy(env._model)
    twin._data = MjData(twin._model)
    return twin


def reset(env: Environment, seed: int, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
    """Start the episode that ``seed`` (and ``options``) alone determine; returns observation and info."""
    seed_global_numpy(seed)
    return env.reset(seed=seed, options=options)


def seed_global_numpy(seed: int) -> None:
    """Seed NumPy's global generator: OGBench's mazes draw start positions and its oracles their noise from it.

    The one place of this project that touches global random state.
    """
    np.random.seed(seed)  # noqa: NPY002


def _pin_actions_of_reset(env: Environment, size: int) -> None:
    """Make the random actions that a manipulation reset takes in the goal state the same every time.

    The package draws them from a new, unseeded action space. They leave no trace in the episode with the physics this
    was measured on; pinning makes that independent of the physics.
    """
    from gymnasium.spaces import Box

    inner = env.unwrapped
    original = type(inner)
    if isinstance(getattr(original, "action_space", None), property):  # mazes have none and take no random actions
        pinned = property(lambda _: Box(-1.0, 1.0, (size,), np.float32, seed=0))
        inner.__class__ = type(original.__name__, (original,), {"action_space": pinned})


@contextmanager
def _no_traces() -> Iterator[None]:
    """Remove the temporary file every maze leaves behind, and keep quiet about a missing display: nothing is drawn."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*DISPLAY environment variable is missing")
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before
