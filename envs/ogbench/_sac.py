"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905) for the ant's controller, in plain JAX.

Three networks of three layers: the actor on a normalised observation, and two critics with a layer norm.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from envs.ogbench._ants import Rows, mirrored
from envs.ogbench._controller import ACTION, BOUND, OBSERVATION

Array = jax.Array
WIDTH = 256
DISCOUNT, TARGET_RATE, LEARNING_RATE = 0.98, 0.005, 3e-4
TARGET_ENTROPY, FIRST_TEMPERATURE = -4.0, 0.2
LOG_STD = (-5.0, 1.0)
LEAST_SPREAD = 0.05
"""Floor of the normaliser's spread."""


def orthogonal(key: Array, inputs: int, outputs: int, scale: float) -> dict[str, Array]:
    return {"w": jax.nn.initializers.orthogonal(scale)(key, (inputs, outputs)), "b": jnp.zeros(outputs)}


def network(key: Array, inputs: int, outputs: int) -> list[dict[str, Array]]:
    keys = jax.random.split(key, 3)
    sizes = [(inputs, WIDTH, math.sqrt(2)), (WIDTH, WIDTH, math.sqrt(2)), (WIDTH, outputs, 0.01)]
    return [orthogonal(key, *size) for key, size in zip(keys, sizes, strict=True)]


def applied(layers: list[dict[str, Array]], x: Array, norm: bool) -> Array:
    for layer in layers[:-1]:
        x = x @ layer["w"] + layer["b"]
        if norm:
            x = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)
        x = jax.nn.relu(x)
    return x @ layers[-1]["w"] + layers[-1]["b"]


class Normaliser(NamedTuple):
    mean: Array
    inverse_spread: Array

    def __call__(self, observation: Array) -> Array:
        return jnp.clip((observation - self.mean) * self.inverse_spread, -BOUND, BOUND)


def normaliser_of(observations: np.ndarray) -> Normaliser:
    """Of rows (n, 29) and their mirror images."""
    both = np.concatenate([observations, mirrored(observations)])
    return Normaliser(
        jnp.asarray(both.mean(axis=0), jnp.float32),
        jnp.asarray(1 / np.maximum(both.std(axis=0), LEAST_SPREAD), jnp.float32),
    )


def sampled(actor: list[dict[str, Array]], x: Array, key: Array) -> tuple[Array, Array]:
    """An action (n, 8) for normalised observations, and its log-probability (n,)."""
    mean, log_std = jnp.split(applied(actor, x, norm=False), 2, axis=-1)
    log_std = jnp.clip(log_std, *LOG_STD)
    noise = jax.random.normal(key, mean.shape)
    u = mean + jnp.exp(log_std) * noise
    normal = -0.5 * jnp.square(noise) - log_std - 0.5 * math.log(2 * math.pi)
    return jnp.tanh(u), jnp.sum(normal - 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u)), axis=-1)


class Learner(NamedTuple):
    """Everything that an update changes."""

    parameters: dict[str, Any]
    targets: Any
    moments: Any
    key: Array


OPTIMISER = optax.adam(LEARNING_RATE)


def fresh(seed: int) -> Learner:
    actor, first, second, key = jax.random.split(jax.random.PRNGKey(seed), 4)
    critics = [network(each, OBSERVATION + ACTION, 1) for each in (first, second)]
    parameters = {
        "actor": network(actor, OBSERVATION, 2 * ACTION),
        "critics": critics,
        "log_temperature": jnp.asarray(math.log(FIRST_TEMPERATURE), jnp.float32),
    }
    return Learner(parameters, jax.tree.map(jnp.copy, critics), OPTIMISER.init(parameters), key)


def lower_value(critics: Any, x: Array, action: Array) -> Array:
    """The smaller of two values (n,)."""
    return jnp.minimum(*[applied(each, jnp.concatenate([x, action], -1), norm=True)[:, 0] for each in critics])


def loss(parameters: Any, targets: Any, rows: Rows, normalise: Normaliser, key: Array) -> Array:
    """Critics, actor and temperature; each term moves its own parameters alone."""
    held = jax.lax.stop_gradient(parameters)
    now, later = jax.random.split(key)
    x, following = normalise(rows.observation), normalise(rows.following)
    temperature = jnp.exp(held["log_temperature"])

    next_action, log_probability = sampled(held["actor"], following, later)
    next_value = lower_value(targets, following, next_action) - temperature * log_probability
    target = rows.reward + DISCOUNT * rows.mask * next_value
    inputs = jnp.concatenate([x, rows.action], -1)
    critics = sum(jnp.mean((applied(each, inputs, norm=True)[:, 0] - target) ** 2) for each in parameters["critics"])

    action, log_probability = sampled(parameters["actor"], x, now)
    actor = jnp.mean(temperature * log_probability - lower_value(held["critics"], x, action))
    entropy_gap = jax.lax.stop_gradient(-jnp.mean(log_probability)) - TARGET_ENTROPY
    return critics + actor + jnp.exp(parameters["log_temperature"]) * entropy_gap


@partial(jax.jit, donate_argnames="learner")
def update(learner: Learner, batches: Rows, normalise: Normaliser) -> Learner:
    """One update for each of the batches (n, BATCH, ...)."""

    def one(learner: Learner, rows: Rows) -> tuple[Learner, None]:
        key, mine = jax.random.split(learner.key)
        gradients = jax.grad(loss)(learner.parameters, learner.targets, rows, normalise, mine)
        steps, moments = OPTIMISER.update(gradients, learner.moments)
        parameters: Any = optax.apply_updates(learner.parameters, steps)
        targets: Any = optax.incremental_update(parameters["critics"], learner.targets, TARGET_RATE)
        return Learner(parameters, targets, moments, key), None

    return jax.lax.scan(one, learner, batches)[0]


@jax.jit
def explore(actor: Any, observations: Array, normalise: Normaliser, key: Array) -> tuple[Array, Array]:
    """Sampled actions, and the next key."""
    key, mine = jax.random.split(key)
    return sampled(actor, normalise(observations), mine)[0], key
