"""PyTorch behind JAX: the same numbers as the same field in JAX, few calls, and errors in place of silent zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from envs import _torch
from envs.toy import _bases, tasks
from envs.toy._torch_base import Mixture
from methods._contract import Backbone, Draw, Leaf, Problem, Space
from methods._critic import gradient
from methods._flow import denoise, steered
from methods._frozen import GivenFlow
from methods._latent import Latent

B, M, K = 3, 2, 10
TASK = tasks()["pixels-v0"]
OBSERVATION = Space(tuple(Leaf(*leaf) for leaf in TASK.observation))
PROBLEM = Problem(
    OBSERVATION,
    TASK.action_size,
    TASK.chunk_length,
    0.9,
    0.5,
    K,
    Backbone("gelu", "raw", (8,), (8,), heads=2),
    decisions=True,
    latent=Latent(_bases.WIDTH, _bases.SCALE, _bases.SHIFT),
)
MIXTURE = {name: jnp.asarray(each) for name, each in _bases.arrays(TASK.chunk_length).items()}


class Counted(Mixture):
    """The field, which counts how often it is run."""

    def __init__(self) -> None:
        super().__init__(_bases.arrays(TASK.chunk_length), _bases.SPREAD)
        self.encoded = self.forwards = self.backwards = 0

    def encode(self, obs: Any) -> torch.Tensor:
        self.encoded += 1
        return super().encode(obs)

    def forward(self, means: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        self.forwards += 1
        found = super().forward(means, x, t)

        def count(gradient: torch.Tensor) -> None:
            self.backwards += 1

        found.register_hook(count)
        return found


def observed(rows: int = B) -> dict[str, np.ndarray]:
    obs = OBSERVATION.zeros(rows)
    return obs | {"state": np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32)}


def points(*shape: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(*shape, PROBLEM.L)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(rng.uniform(0.1, 0.9, (*shape, 1)).astype(np.float32))


def called(field: Any) -> tuple[Callable[..., Any], Callable[..., Any], Any]:
    found = _torch.behind_jax(field, ("state",))
    return found.encode, found.velocity, found


def test_it_is_the_same_field_as_in_jax_jitted_and_mapped() -> None:
    encode, velocity, _ = called(Counted())
    x, t = points(2, B, M)  # a mapped axis in front

    def both(x: jax.Array, t: jax.Array) -> Any:
        obs = observed()
        theirs = _bases.velocity(MIXTURE, _bases.encode(MIXTURE, obs), x, t)
        return velocity({}, encode({}, obs), x, t), theirs

    ours, theirs = jax.jit(jax.vmap(both))(x, t)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)
    slow = np.stack([both(x[i], t[i])[0] for i in range(2)])
    np.testing.assert_allclose(ours, slow, rtol=1e-5, atol=1e-6)


def test_the_pullback_is_the_derivative() -> None:
    encode, velocity, _ = called(Counted())
    x, t = points(B, M)
    direction, step = jnp.asarray(np.random.default_rng(2).normal(size=x.shape), jnp.float32), 1e-2
    context = encode({}, observed())

    def value(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(velocity({}, context, x, t)))

    slope = float(jnp.sum(jax.jit(jax.grad(value))(x) * direction))
    difference = float(value(x + step * direction) - value(x - step * direction)) / (2 * step)
    assert slope == pytest.approx(difference, rel=2e-3)
    wanted = jax.grad(lambda x: jnp.sum(jnp.sin(_bases.velocity(MIXTURE, context, x, t))))(x)
    np.testing.assert_allclose(jax.grad(value)(x), wanted, atol=1e-5)


def test_drift_guidance_and_pullback_share_one_pass() -> None:
    """Ten steered steps, the first of which is not steered, for seeds and rows together."""
    field = Counted()
    encode, velocity, _ = called(field)
    flow = GivenFlow(PROBLEM, encode, velocity, ("state",)).bind({})

    def act(key: jax.Array) -> jax.Array:
        at = flow.at(observed())
        predict = denoise(flow.at(observed()))
        guidance = gradient(lambda x, t: -jnp.sum(jnp.square(predict(x, t) - 0.3), axis=-1))
        return steered(at, guidance, 0.3, PROBLEM, Draw(key))

    found = jax.block_until_ready(jax.jit(jax.vmap(act))(jax.random.split(jax.random.PRNGKey(0), 4)))
    assert found.shape == (4, B, PROBLEM.D)
    assert (field.encoded, field.forwards, field.backwards) == (1, K, K - 1)


@pytest.mark.parametrize("what", ["the time", "the observation"])
def test_other_derivatives_are_errors(what: str) -> None:
    encode, velocity, _ = called(Counted())
    x, t = points(B, M)
    context = encode({}, observed())
    given = (lambda t: velocity({}, context, x, t)) if what == "the time" else (lambda c: velocity({}, c, x, t))
    with pytest.raises(TypeError, match=f"no derivative in {what}"):
        jax.grad(lambda value: jnp.sum(given(value)))(t if what == "the time" else context)


def test_nor_does_the_observation_itself_have_a_silent_zero() -> None:
    encode, velocity, _ = called(Counted())
    x, t = points(B, M)
    obs = observed()
    with pytest.raises(ValueError, match="not support"):
        jax.grad(lambda state: jnp.sum(velocity({}, encode({}, obs | {"state": state}), x, t)))(obs["state"])


def test_an_error_of_the_field_is_its_own_sentence() -> None:
    class Broken(Counted):
        def forward(self, means: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            raise ValueError("the checkpoint has no action head")

    encode, velocity, found = called(Broken())
    x, t = points(B, M)
    with pytest.raises(jax.errors.JaxRuntimeError):
        jax.block_until_ready(velocity({}, encode({}, observed()), x, t))
    error = found.fault()
    assert isinstance(error, ValueError)
    assert str(error) == "the checkpoint has no action head"
    assert found.fault() is None


def test_who_is_interrupted_in_a_callback_blames_nobody() -> None:
    aside = _torch.Aside()
    with pytest.raises(KeyboardInterrupt), aside:
        raise KeyboardInterrupt
    assert aside.take() is None
    with aside:
        """The next one gets in."""
