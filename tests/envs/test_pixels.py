"""The world told by pixels: decisions as announced, values that are known, and the base that comes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import toy
from envs._suite import Start
from envs.toy import _bases, _pixels

TASKS = {name: task for name, task in toy.tasks().items() if task.decisions}
TASK = TASKS["pixels-v0"]


def play(walk: Any, episodes: int = 300, name: str = "pixels-v0") -> list[list[Any]]:
    """The decisions of episodes in which ``walk(rng, obs)`` says how far each chunk's steps go."""
    pool, rng, found = toy.pool(TASKS[name], 1, 0), np.random.default_rng(0), []
    for seed in range(episodes):
        obs, decisions = pool.reset({0: Start(seed, "evaluation")})[0], []
        while not decisions or decisions[-1].measures is None:
            chunk = np.tile(np.array([walk(rng, obs), 0.0], np.float32), (TASK.chunk_length, 1))
            decisions.append(pool.step({0: chunk})[0])
            obs = {key: leaf[-1] for key, leaf in decisions[-1].observations.items()}
        found.append(decisions)
    return found


def side(obs: dict[str, np.ndarray]) -> float:
    """Where the goal is, read from the frame."""
    return 1.0 if obs["camera"][3, 7, 0] == _pixels.BRIGHT else -1.0


def test_the_best_value_at_the_start_is_minus_one() -> None:
    for decisions in play(lambda rng, obs: side(obs)):
        assert [float(each.rewards[0]) for each in decisions] == [-1.0, 0.0]
        assert [bool(each.terminated[0]) for each in decisions] == [False, True]
        assert decisions[-1].measures is not None
        assert decisions[-1].measures["success"] == 1.0
        assert decisions[-1].measures["length"] == sum(each.count for each in decisions)


def test_a_decision_has_one_entry_whatever_it_took() -> None:
    for decisions in play(lambda rng, obs: 1.0, 40):
        for each in decisions:
            assert len(each.rewards) == len(each.terminated) == 1
            assert 1 <= each.count <= TASK.chunk_length
            assert {name: (leaf.shape[1:], leaf.dtype.name) for name, leaf in each.observations.items()} == {
                leaf.name: (leaf.shape, leaf.type) for leaf in TASK.observation
            }
    lost = [decisions[-1] for decisions in play(lambda rng, obs: -side(obs), 20)]
    assert all(each.truncated[0] and not each.terminated[0] and each.measures["success"] == 0.0 for each in lost)


def test_the_behaviour_succeeds_now_and_then() -> None:
    """Two steps of three to the goal's side: one in four, but for the noise of the start."""
    found = play(lambda rng, obs: _bases.SIDE * rng.choice([-1.0, 1.0]), 2000)
    assert np.mean([each[-1].measures["success"] for each in found]) == pytest.approx(0.25, abs=0.04)


def test_starts_of_a_kind_are_their_own() -> None:
    pool = toy.pool(TASK, 2, 0)
    kinds = {kind: pool.reset({0: Start(5, kind)})[0]["state"][0] for kind in ("evaluation", "training")}
    assert kinds["evaluation"] != kinds["training"]
    goals = [side(pool.reset({0: Start(seed, "training")})[0]) for seed in range(200)]
    assert abs(np.mean(goals)) < 0.25


def test_there_are_no_rows() -> None:
    for task in TASKS.values():
        identity = toy.identity(task, "generated", {})
        rows = toy.load(task, identity, Path())[0]
        assert len(rows.rewards) == toy.transitions(identity) == 0
    identities = [toy.identity(task, "generated", {}) for task in TASKS.values()]
    assert len({identity["base"] for identity in identities}) == len(TASKS)
    assert len({toy.provenance(identity) for identity in identities}) == 1, "they may stand in one table"


def test_only_the_base_sees_the_prompt() -> None:
    task = TASKS["pixels-prompted-v0"]
    seen = toy.pool(task, 1, 0).reset({0: Start(0, "evaluation")})[0]
    assert set(seen) - {leaf.name for leaf in task.observation} == {leaf.name for leaf in task.seen} == {"prompt"}
    base = toy.base(task)
    assert base is not None
    assert "prompt" in base.needs


@pytest.mark.parametrize("name", TASKS)
def test_the_velocity_is_that_of_its_mixture(name: str) -> None:
    """E[x_1 - x_0 | x_t] by sampling pairs and weighing them."""
    base = toy.base(TASKS[name])
    assert base is not None
    obs = toy.pool(TASKS[name], 1, 0).reset({0: Start(3, "evaluation")})[0]
    context = base.encode(base.arrays, jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], obs))
    means = np.asarray(context)
    rng, t = np.random.default_rng(0), 0.6
    data = means[0][rng.integers(2, size=400_000)]
    data = data + _bases.SPREAD * rng.normal(size=data.shape)
    x = (t * means[0].mean(0) + 0.3 * means[0][1]).astype(np.float32)
    noise = (x - t * data) / (1 - t)
    odds = np.exp(-0.5 * np.square(noise).sum(1))
    wanted = (odds[:, None] * (data - noise)).sum(0) / odds.sum()
    found = base.velocity(base.arrays, context, jnp.asarray(x)[None, None], jnp.full((1, 1, 1), t))
    np.testing.assert_allclose(found[0, 0], wanted, atol=0.05)
