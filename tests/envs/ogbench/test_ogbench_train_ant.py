"""The controller's training: its mirror, its losses' separation, its resume; that it learns is a command's work."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs._suite import SuiteError
from envs.ogbench import _ants, _sac, train_ant
from envs.ogbench._ants import Rows, mirrored, mirrored_action
from envs.ogbench._controller import ACTION, OBSERVATION, Controller, observe, to_actuators
from envs.ogbench.train_ant import Arguments, Training


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few updates of small batches, from early on."""
    for name, value in {"UPDATES_A_ROUND": 2, "BATCH": 16, "UNIFORM_STEPS": 64}.items():
        monkeypatch.setattr(train_ant, name, value)
    monkeypatch.setattr(_ants, "CAPACITY", 1000)


def test_the_mirror_is_the_simulators():
    """A mirrored state with the mirrored action leads to the mirrored next observation."""
    import mujoco
    import ogbench.locomaze

    module: object = mujoco
    file = Path(ogbench.locomaze.__file__).parent / "assets" / "ant.xml"
    model = module.MjModel.from_xml_path(str(file))  # pyright: ignore[reportAttributeAccessIssue] -- no stub
    rng = np.random.default_rng(0)
    slots = rng.uniform(-1, 1, ACTION)

    def after(flip: bool) -> np.ndarray:
        data = module.MjData(model)  # pyright: ignore[reportAttributeAccessIssue] -- no stub
        data.qpos[2] = 0.6
        legs = np.array([[0.1, 0.9], [-0.2, -0.8], [0.15, -0.9], [0.05, 0.8]])
        if flip:  # hips change sign and sides; ankles, signed alike, change sides
            sign = np.array([1, -1, -1, 1])
            alike = legs[:, 1] * sign
            legs = np.stack([-legs[::-1, 0], alike[::-1] * sign], axis=1)
        data.qpos[7:] = legs.ravel()
        chosen = mirrored_action(slots[None])[0] if flip else slots
        direction = np.array([1.0, 0.0])
        data.ctrl[:] = to_actuators(chosen, observe(data.qpos, data.qvel, direction)[1])
        module.mj_step(model, data, 5)  # pyright: ignore[reportAttributeAccessIssue] -- no stub
        return observe(data.qpos, data.qvel, direction)[0]

    np.testing.assert_allclose(after(True), mirrored(after(False)[None])[0], atol=1e-6)
    assert not np.allclose(after(True), after(False), atol=1e-3)


def test_mirroring_twice_is_nothing():
    rng = np.random.default_rng(0)
    observations, actions = rng.normal(size=(5, OBSERVATION)), rng.normal(size=(5, ACTION))
    np.testing.assert_array_equal(mirrored(mirrored(observations)), observations)
    np.testing.assert_array_equal(mirrored_action(mirrored_action(actions)), actions)


def some_rows() -> Rows:
    rng = np.random.default_rng(1)
    sizes = ((6, OBSERVATION), (6, ACTION), (6,), (6,), (6, OBSERVATION))
    rows = Rows(*(jnp.asarray(rng.normal(size=size), jnp.float32) for size in sizes))
    return rows._replace(action=jnp.tanh(rows.action), mask=jnp.ones(6))


def test_the_critics_learn_the_target_alone():
    """The critics' gradient is that of two squared errors from a target written out here."""
    learner = _sac.fresh(0)
    rows, key = some_rows(), jax.random.PRNGKey(3)
    normalise = _sac.normaliser_of(np.asarray(rows.observation))
    found = jax.grad(_sac.loss)(learner.parameters, learner.targets, rows, normalise, key)

    x, later = normalise(rows.observation), normalise(rows.following)
    action, log_probability = _sac.sampled(learner.parameters["actor"], later, jax.random.split(key)[1])
    inputs = jnp.concatenate([later, action], -1)
    values = [_sac.applied(each, inputs, norm=True)[:, 0] for each in learner.targets]
    target = rows.reward + 0.98 * (jnp.minimum(*values) - 0.2 * log_probability)

    def errors(critics):
        return sum(
            jnp.mean((_sac.applied(each, jnp.concatenate([x, rows.action], -1), norm=True)[:, 0] - target) ** 2)
            for each in critics
        )

    wanted = jax.grad(errors)(learner.parameters["critics"])
    for ours, theirs in zip(jax.tree.leaves(found["critics"]), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_actor_climbs_the_smaller_value():
    """The gradient of alpha log pi - min Q, with the critics held."""
    learner, rows, key = _sac.fresh(0), some_rows(), jax.random.PRNGKey(5)
    critics: Any = jax.tree.map(lambda leaf: leaf * 3.0 if leaf.ndim == 2 else leaf, learner.parameters["critics"])
    learner.parameters["critics"] = critics
    normalise = _sac.normaliser_of(np.asarray(rows.observation))
    found = jax.grad(_sac.loss)(learner.parameters, learner.targets, rows, normalise, key)["actor"]
    x, now = normalise(rows.observation), jax.random.split(key)[0]

    def wanted(actor):
        action, log_probability = _sac.sampled(actor, x, now)
        values = [_sac.applied(each, jnp.concatenate([x, action], -1), norm=True)[:, 0] for each in critics]
        return jnp.mean(0.2 * log_probability - jnp.minimum(*values))

    for ours, theirs in zip(
        jax.tree.leaves(found), jax.tree.leaves(jax.grad(wanted)(learner.parameters["actor"])), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)


def test_the_normaliser_sees_the_mirror_images_too():
    rows = np.random.default_rng(0).normal(2.0, 3.0, (50, OBSERVATION))
    ours, theirs = _sac.normaliser_of(rows), _sac.normaliser_of(mirrored(rows))
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-5)
    np.testing.assert_allclose(ours.inverse_spread, theirs.inverse_spread, rtol=1e-5)
    still = _sac.normaliser_of(np.ones((5, OBSERVATION)) * np.abs(_ants.MIRRORED_SIGNS + 1) / 2)
    assert float(still.inverse_spread.max()) == pytest.approx(1 / 0.05)


def test_the_normaliser_freezes(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train_ant, "NORMALISED_UNTIL", 192)
    training = Training(Arguments(tmp_path / "a.npz"))
    means = []
    for _ in range(4):
        training.round()
        means.append(np.asarray(training.normalise.mean))
    assert not np.array_equal(means[0], means[1])
    np.testing.assert_array_equal(means[1], means[3])


def test_an_interrupted_round_is_finished_first(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Ctrl-C in the middle of a round: saved at its end, so that a resume is the run that never stopped."""
    straight = Training(Arguments(tmp_path / "a.npz"))
    for _ in range(3):
        straight.round()
    step = _ants.Ants.step
    calls = []

    def interrupted(ants: _ants.Ants, actions: np.ndarray) -> Rows:
        calls.append(1)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return step(ants, actions)

    monkeypatch.setattr(_ants.Ants, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_ant.run(Arguments(tmp_path / "b.npz", steps=192, runs=0))
    assert Training(Arguments(tmp_path / "b.npz")).steps == 128
    train_ant.run(Arguments(tmp_path / "b.npz", steps=192, runs=0))
    found = Training(Arguments(tmp_path / "b.npz"))
    for name, array in straight.controller().items():
        np.testing.assert_array_equal(found.controller()[name], array)


def test_the_temperature_follows_the_entropy():
    """The gradient of log alpha is alpha (entropy + 4): descent lowers it, since a fresh policy is nearly uniform."""
    learner, rows, key = _sac.fresh(0), some_rows(), jax.random.PRNGKey(0)
    normalise = _sac.normaliser_of(np.asarray(rows.observation))
    found = jax.grad(_sac.loss)(learner.parameters, learner.targets, rows, normalise, key)["log_temperature"]
    now = jax.random.split(key)[0]
    entropy = -float(_sac.sampled(learner.parameters["actor"], normalise(rows.observation), now)[1].mean())
    assert float(found) == pytest.approx(0.2 * (entropy + 4), rel=1e-4)
    assert found > 0


def test_the_density_is_that_of_a_squashed_normal():
    """log N(u) - sum log(1 - tanh^2 u), in float64."""
    learner, x = _sac.fresh(0), jnp.asarray(np.random.default_rng(2).normal(size=(5, OBSERVATION)), jnp.float32)
    action, found = _sac.sampled(learner.parameters["actor"], x, jax.random.PRNGKey(1))
    a = np.asarray(action, np.float64)
    out = np.asarray(_sac.applied(learner.parameters["actor"], x, norm=False), np.float64)
    mean, spread = out[:, :ACTION], np.exp(np.clip(out[:, ACTION:], -5, 1))
    normal = -0.5 * ((np.arctanh(a) - mean) / spread) ** 2 - np.log(spread) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(found, (normal - np.log(1 - a**2)).sum(axis=1), rtol=1e-3)


def test_an_update_is_a_step_of_adam_and_of_the_average():
    """Adam's first step is the learning rate, 3e-4, whatever the gradient; the targets go 0.005 of the way."""
    rows = some_rows()
    before, after = _sac.fresh(0), _sac.fresh(0)
    normalise = _sac.normaliser_of(np.asarray(rows.observation))
    after = _sac.update(after, jax.tree.map(lambda column: column[None], rows), normalise)
    for old, new in zip(jax.tree.leaves(before.parameters), jax.tree.leaves(after.parameters), strict=True):
        assert np.abs(new - old).max() == pytest.approx(3e-4, rel=1e-2)
    leaves = [jax.tree.leaves(each) for each in (before.targets, after.parameters["critics"], after.targets)]
    for old, online, new in zip(*leaves, strict=True):
        np.testing.assert_allclose(new, 0.995 * old + 0.005 * online, atol=1e-7)


def test_a_step_is_paid_for_its_way_and_its_effort():
    ants = _ants.Ants(np.random.default_rng(0))
    ants.age[:] = 0
    ants.age[3] = 199
    places = np.stack([data.qpos[:2].copy() for data in ants.data])
    directions, actions = ants.directions.copy(), np.random.default_rng(1).uniform(-1, 1, (_ants.COPIES, ACTION))
    rows = ants.step(actions)
    ways = np.stack([data.qpos[:2] for data in ants.data]) - places
    stayed = np.arange(_ants.COPIES) != 3
    wanted = (ways * directions).sum(axis=1) / 0.1 - 0.02 * (actions**2).sum(axis=1)
    np.testing.assert_allclose(rows.reward[stayed], wanted[stayed], rtol=1e-4)
    np.testing.assert_array_equal(rows.mask, np.ones(_ants.COPIES), "time-outs bootstrap")
    assert ants.age[3] == 0
    assert (ants.age[stayed] == 1).all()
    following = [observe(data.qpos, data.qvel, way)[0] for data, way in zip(ants.data, directions, strict=True)]
    np.testing.assert_allclose(rows.following[stayed], np.stack(following)[stayed], atol=1e-5)


def test_an_ant_on_its_back_has_fallen():
    ants = _ants.Ants(np.random.default_rng(0))
    ants.age[:] = 0
    ants.data[2].qpos[3:7] = [0.0, 1.0, 0.0, 0.0]
    assert ants.step(np.zeros((_ants.COPIES, ACTION))).mask.tolist() == [1, 1, 0] + [1] * (_ants.COPIES - 3)
    assert ants.age[2] == 0


def test_the_replay_keeps_the_last_transitions_and_their_mirrors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_ants, "CAPACITY", 10)
    replay = _ants.Replay()
    rows = Rows(*(np.asarray(column)[:2] for column in some_rows()))
    for number in range(4):
        replay.add(rows._replace(reward=np.full(2, float(number))))
    assert replay.size == 10
    assert replay.rows.reward.tolist() == [2.0] * 2 + [3.0] * 4 + [1.0] * 2 + [2.0] * 2
    images = {"observation": mirrored, "action": mirrored_action, "following": mirrored}
    for name, image in images.items():
        np.testing.assert_array_equal(getattr(replay.rows, name)[2:4], getattr(rows, name))
        np.testing.assert_allclose(getattr(replay.rows, name)[4:6], image(getattr(rows, name)), atol=1e-6)


def test_a_resumed_training_is_the_one_that_never_stopped(small: None, tmp_path: Path):
    straight = Training(Arguments(tmp_path / "a.npz"))
    for _ in range(4):
        straight.round()
    halves = Training(Arguments(tmp_path / "b.npz"))
    for _ in range(2):
        halves.round()
    halves.save(0)
    halves = Training(Arguments(tmp_path / "b.npz"))
    assert halves.steps == 128
    for _ in range(2):
        halves.round()
    assert straight.steps == halves.steps == 256
    for name, array in straight.controller().items():
        np.testing.assert_array_equal(halves.controller()[name], array)
    with pytest.raises(SuiteError, match="is of seed 0"):
        Training(Arguments(tmp_path / "b.npz", seed=1))
    with pytest.raises(SuiteError, match="has 128 steps already"):
        train_ant.run(Arguments(tmp_path / "b.npz", steps=100))
    checkpoint = tmp_path / "b.checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(SuiteError, match="is damaged: delete it to start anew"):
        Training(Arguments(tmp_path / "b.npz"))


def test_what_is_written_acts_as_the_policy_does(small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "out.npz"
    train_ant.run(Arguments(file, steps=200, runs=0))
    assert "wrote" in capsys.readouterr().out
    training = Training(Arguments(file))
    ants = training.ants
    data, direction = ants.data[0], ants.directions[0]
    seen, turns = observe(data.qpos, data.qvel, direction)
    normalised = training.normalise(jnp.asarray(seen[None], jnp.float32))
    mean = _sac.applied(training.learner.parameters["actor"], normalised, norm=False)[0, :ACTION]
    wanted = to_actuators(np.tanh(np.asarray(mean, np.float64)), turns)
    np.testing.assert_allclose(Controller.load(file).act(data.qpos, data.qvel, direction), wanted, atol=1e-5)
