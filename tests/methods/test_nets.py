"""Networks against counts, bounds and formulas written down elsewhere, and inputs with more axes than the observation.

Parameter counts: released configuration of Li & Levine 2026 (arXiv 2601.14234) at d_s = 37, A = 5, H = 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from methods import _modules, _nets
from methods._contract import Backbone, Problem, Space

WIDTHS = (512,) * 4
REFERENCE = Problem(Space.array(37), 5, 5, 0.99, 0.5, 10, Backbone("gelu", "raw", WIDTHS, WIDTHS, heads=10))
PAPER = Problem(Space.array(37), 5, 5, 0.99, 0.5, 10, Backbone("silu", "fourier", WIDTHS, WIDTHS, heads=10))
SMALL = Problem(Space.array(3), 2, 2, 0.99, 0.5, 4, Backbone("gelu", "raw", (8, 6), (7, 5), heads=3, value_start=-60.0))
KEY = jax.random.PRNGKey(0)

COUNTS: list[tuple[Callable[[Problem], Any], Problem, int]] = [
    (_nets.critic, REFERENCE, 8_248_330),
    (lambda problem: _nets.critic(problem, timed=True), REFERENCE, 8_253_450),
    (lambda problem: _nets.critic(problem, timed=True), PAPER, 8_576_010),
    (_nets.velocity_field, REFERENCE, 833_561),
    (_nets.one_step, REFERENCE, 833_049),
    (_nets.value, REFERENCE, 812_033),
    (_nets.tanh_normal, REFERENCE, 833_074),
    (lambda problem: _nets.tanh_normal(problem, given=(problem.D,)), REFERENCE, 845_874),
    (_nets.deterministic, REFERENCE, 820_249),
    (_nets.denoiser, REFERENCE, 1_916_473),
    (_nets.denoiser, PAPER, 1_916_473),
    (_nets.velocity_field, PAPER, 865_817),
    (_nets.flow_map, PAPER, 944_153),
]


@pytest.mark.parametrize(("make", "problem", "count"), COUNTS)
def test_parameter_counts(make: Callable[[Problem], Any], problem: Problem, count: int) -> None:
    leaves = jax.tree.leaves(jax.eval_shape(make(problem).init, KEY))
    assert sum(int(np.prod(leaf.shape)) for leaf in leaves) == count


def test_activation_is_the_tanh_gelu() -> None:
    x = np.linspace(-4, 4, 41, dtype=np.float32)
    expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(_modules.ACTIVATIONS["gelu"](jnp.asarray(x)), expected, atol=1e-6)
    np.testing.assert_allclose(_modules.ACTIVATIONS["silu"](jnp.asarray(x)), x / (1 + np.exp(-x)), atol=1e-6)


def test_layers_are_dense_then_activation_then_norm() -> None:
    """A plain NumPy evaluation of one critic head."""
    network = _nets.critic(SMALL)
    parameters = jax.tree.map(lambda leaf: leaf + 0.1, network.init(KEY))
    obs, chunk = np.ones((2, 3), np.float32), np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    x = np.concatenate([obs, chunk], axis=1)
    layers = jax.tree.map(lambda leaf: np.asarray(leaf[1], np.float64), parameters["mlp"])
    for i in range(2):
        x = x @ layers[f"Dense_{i}"]["kernel"] + layers[f"Dense_{i}"]["bias"]
        x = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
        x = x * layers[f"LayerNorm_{i}"]["scale"] + layers[f"LayerNorm_{i}"]["bias"]
    x = x @ layers["Dense_2"]["kernel"] + layers["Dense_2"]["bias"]
    found = network.bind(parameters).at(jnp.asarray(obs))(jnp.asarray(chunk))
    np.testing.assert_allclose(found[1], x[:, 0], rtol=1e-4)


def test_initial_values() -> None:
    wide = replace(REFERENCE, backbone=replace(REFERENCE.backbone, actor_widths=(512,), value_widths=(512,), heads=2))
    critic = _nets.critic(wide).init(KEY)["mlp"]
    bound = np.sqrt(6 / (62 + 512))
    kernel = np.abs(np.asarray(critic["Dense_0"]["kernel"]))
    assert 0.99 * bound < kernel.max() <= bound
    assert not np.allclose(kernel[0], kernel[1]), "heads are initialised independently"
    mean = np.abs(np.asarray(_nets.deterministic(wide).init(KEY)["mean"]["kernel"]))
    bound = 0.1 * np.sqrt(6 / (512 + 25))
    assert 0.99 * bound < mean.max() <= bound
    np.testing.assert_array_equal(_nets.critic(SMALL).init(KEY)["mlp"]["Dense_2"]["bias"], -60.0)
    np.testing.assert_array_equal(_nets.value(SMALL).init(KEY)["Dense_2"]["bias"], -60.0)
    np.testing.assert_array_equal(_nets.velocity_field(SMALL).init(KEY)["Dense_2"]["bias"], 0.0)


def test_time_features() -> None:
    t = jnp.asarray([[0.3]])
    np.testing.assert_array_equal(_nets.time_features(t, "raw"), t)
    angles = 0.3 * np.arange(32)
    expected = np.concatenate([np.cos(angles), np.sin(angles)])[None]
    np.testing.assert_allclose(_nets.time_features(t, "fourier"), expected, atol=1e-6)


def test_columns_repeat_what_has_fewer_axes() -> None:
    obs, x, z = (
        jnp.asarray(np.random.default_rng(i).normal(size=s)) for i, s in enumerate([(2, 3), (2, 4), (2, 5, 4)])
    )
    row = np.asarray(_nets.columns(obs, z, x, 0.5))
    assert row.shape == (2, 5, 12)
    for b in range(2):
        for n in range(5):
            np.testing.assert_allclose(row[b, n], np.concatenate([obs[b], z[b, n], x[b], [0.5]]), rtol=1e-6)


@pytest.mark.parametrize("make", [_nets.critic, _nets.velocity_field, _nets.flow_map])
def test_candidates_are_rows_of_their_own(make: Callable[[Problem], Any]) -> None:
    network = make(SMALL)
    bound = network.bind(network.init(KEY)).at(jnp.ones((2, 3)))
    candidates = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 4)), jnp.float32)
    context = {_nets.critic: (), _nets.velocity_field: (0.3,), _nets.flow_map: (jnp.ones((2, 4)), 0.3, 0.0, 1.0)}[make]
    together = np.asarray(bound(candidates, *context))
    alone = np.asarray(bound(candidates[:, 3], *context))
    axis = 2 if make is _nets.critic else 1
    np.testing.assert_allclose(np.take(together, 3, axis=axis), alone, atol=1e-5)


def test_a_timed_critic_called_without_a_time_means_the_clean_time() -> None:
    network = _nets.critic(SMALL, timed=True)
    bound = network.bind(network.init(KEY)).at(jnp.ones((2, 3)))
    chunk = jnp.ones((2, 4))
    np.testing.assert_array_equal(bound(chunk), bound(chunk, 1.0))
    assert not np.allclose(bound(chunk), bound(chunk, 0.5))


def test_a_denoiser_is_two_mish_networks_over_learned_features() -> None:
    """A plain NumPy evaluation: features of the time, embedded, then [x, s, embedded]."""
    network = _nets.denoiser(SMALL)
    parameters: Any = network.init(KEY)
    obs, x, t = (np.random.default_rng(i).normal(size=(2, n)) for i, n in enumerate((3, 4, 1)))

    def mlp(layers: Any, h: np.ndarray) -> np.ndarray:
        for i in range(3 if "Dense_2" in layers else 2):
            h = h @ np.asarray(layers[f"Dense_{i}"]["kernel"]) + np.asarray(layers[f"Dense_{i}"]["bias"])
            h = h if f"Dense_{i + 1}" not in layers else h * np.tanh(np.log1p(np.exp(h)))
        return h

    angles = 2 * np.pi * t * np.asarray(parameters["frequency"])
    embedded = mlp(parameters["time"], np.concatenate([np.cos(angles), np.sin(angles)], axis=-1))
    expected = mlp(parameters["mlp"], np.concatenate([x, obs, embedded], axis=-1))
    found = network.bind(parameters).at(jnp.asarray(obs))(jnp.asarray(x), jnp.asarray(t))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert 0.1 < np.asarray(parameters["frequency"]).std() < 0.3


def test_the_log_std_is_clipped() -> None:
    network = _nets.tanh_normal(SMALL)
    parameters: Any = network.init(KEY)
    for bias, expected in ((50.0, 2.0), (-50.0, -20.0)):
        changed = parameters | {"log_std": {"kernel": 0 * parameters["log_std"]["kernel"], "bias": jnp.full(4, bias)}}
        np.testing.assert_allclose(network.bind(changed).at(jnp.ones((2, 3)))()[1], expected)


def test_a_temperature_starts_at_one_and_is_strongly_typed() -> None:
    network = _nets.temperature(SMALL)
    parameters = network.init(KEY)
    assert network.bind(parameters)() == 1.0
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(parameters))
