"""What networks are made of, and the only place that imports flax.

Reference for the order of layers, activation and initialisation: Li & Levine 2026 (arXiv 2601.14234), appendix and
released code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array
Module = nn.Module

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: nn.gelu(x, approximate=True),
    "silu": nn.silu,
    "mish": lambda x: x * jnp.tanh(nn.softplus(x)),
}
FREQUENCIES = 32
"""Fourier time features: cos(k t) for k = 0..31, then sin(k t), in radians, not learned (QPILOTS, Appendix C)."""

xavier = nn.initializers.xavier_uniform()


class MLP(nn.Module):
    """Dense -> activation -> LayerNorm (eps 1e-6), the last layer linear unless ``activate_final``."""

    widths: tuple[int, ...]
    activation: str
    layer_norm: bool = False
    activate_final: bool = False
    last_bias: float = 0.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for i, width in enumerate(self.widths):
            last = i == len(self.widths) - 1
            bias = nn.initializers.constant(self.last_bias if last else 0.0)
            x = nn.Dense(width, kernel_init=xavier, bias_init=bias)(x)
            if not last or self.activate_final:
                x = ACTIVATIONS[self.activation](x)
                x = nn.LayerNorm(epsilon=1e-6)(x) if self.layer_norm else x
        return x


class Ensemble(nn.Module):
    """J independently initialised MLPs of one output on the same input: (*, inputs) -> (J, *)."""

    widths: tuple[int, ...]
    activation: str
    layer_norm: bool
    heads: int
    last_bias: float

    @nn.compact
    def __call__(self, x: Array) -> Array:
        members = nn.vmap(
            MLP,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=None,  # type: ignore[arg-type]
            out_axes=0,
            axis_size=self.heads,
        )
        return members((*self.widths, 1), self.activation, self.layer_norm, last_bias=self.last_bias, name="mlp")(x)[
            ..., 0
        ]


class Heads(nn.Module):
    """A trunk with its last layer activated and one linear head for each name."""

    widths: tuple[int, ...]
    activation: str
    outputs: int
    names: tuple[str, ...]
    scale: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, ...]:
        x = MLP(self.widths, self.activation, activate_final=True, name="mlp")(x)
        kernel = xavier if self.scale == 1.0 else nn.initializers.variance_scaling(self.scale, "fan_avg", "uniform")
        return tuple(nn.Dense(self.outputs, kernel_init=kernel, name=name)(x) for name in self.names)


class Encoder(nn.Module):
    """Frames (B, h, w, c) of bytes -> (B, size) in (-1, 1): 3x3 convolutions without padding, each with ReLU, then
    Dense -> LayerNorm -> tanh. As DSRL's release (Wagenmaker et al. 2025, arXiv 2506.15799), which QPILOTS follows."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    size: int

    @nn.compact
    def __call__(self, frames: Array) -> Array:
        x = frames.astype(jnp.float32) / 255.0
        for width, stride in zip(self.channels, self.strides, strict=True):
            x = nn.relu(nn.Conv(width, (3, 3), (stride, stride), "VALID", kernel_init=xavier)(x))
        x = nn.Dense(self.size, kernel_init=xavier)(x.reshape(*x.shape[:-3], -1))
        return jnp.tanh(nn.LayerNorm(epsilon=1e-6)(x))


class Denoiser(nn.Module):
    """Noise prediction on rows [s, x, t], x of width ``outputs``: learned Fourier features of t, embedded, then an MLP
    on [x, s, embedded t]. Its activation is Mish whatever the backbone."""

    widths: tuple[int, ...]
    outputs: int

    @nn.compact
    def __call__(self, row: Array) -> Array:
        obs, x, t = jnp.split(row, (row.shape[-1] - self.outputs - 1, row.shape[-1] - 1), axis=-1)
        frequency = self.param("frequency", nn.initializers.normal(0.2), (FREQUENCIES,), jnp.float32)
        angles = 2.0 * jnp.pi * t * frequency
        embedded = MLP(self.widths, "mish", name="time")(jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1))
        return MLP((*self.widths, self.outputs), "mish", name="mlp")(jnp.concatenate([x, obs, embedded], axis=-1))


class Scalar(nn.Module):
    """exp(theta), theta = 0 at first: a temperature."""

    @nn.compact
    def __call__(self) -> Array:
        return jnp.exp(self.param("log_value", nn.initializers.zeros, (), jnp.float32))


def time_features(t: Array, kind: str) -> Array:
    """One time column (*, 1) as network input: itself ("raw"), or (*, 64) Fourier features."""
    if kind == "raw":
        return t
    angles = t * jnp.arange(FREQUENCIES, dtype=t.dtype)
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def moved(frames: Array, shift: Array) -> Array:
    """Frames (B, h, w, c) moved down and right by ``shift`` (B, 2) whole pixels; edges are repeated."""

    def one(frame: Array, by: Array) -> Array:
        rows, columns = (jnp.clip(jnp.arange(size) - by[i], 0, size - 1) for i, size in enumerate(frame.shape[:2]))
        return frame[rows][:, columns]

    return jax.vmap(one)(frames, shift)


def columns(*inputs: Any, rows: tuple[int, ...] = ()) -> Array:
    """Inputs side by side, each repeated over the axes that a later one has between its leading and its last axis, and
    at least over ``rows``.

    A number stands for a column of it. Shapes (B, S), (B, N, D), 0.5 -> (B, N, S + D + 1).
    """
    arrays = [jnp.asarray(each, jnp.float32) for each in inputs]
    rows = max([rows, *(array.shape[:-1] for array in arrays)], key=len)
    axes = len(rows) + 1

    def aligned(array: Array) -> Array:
        shape = array.shape or (1,)
        lead = () if len(shape) == 1 else shape[:-1]
        array = array.reshape(lead + (1,) * (axes - len(lead) - 1) + shape[-1:])
        return jnp.broadcast_to(array, (*rows, shape[-1]))

    return jnp.concatenate([aligned(array) for array in arrays], axis=-1)
