"""Networks, and the only place that imports flax.

A network is first bound to parameters, then given its observation, then called: ``views.held.critic.at(obs)(chunk)``.
It knows the sizes of its own inputs, so that the trainer can make it. Every input may carry more axes between the
leading ones and the last than the observation does (candidates, posterior samples): the observation is repeated there.

Reference for widths, order of inputs, activation and initialisation: Li & Levine 2026 (arXiv 2601.14234), appendix and
released code; the `paper` backbone and the flow map: QPILOTS (arXiv 2606.14801), Appendix C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from methods._given import Draw, Problem

Array = jax.Array
Parameters = Any
"""A pytree of arrays."""

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"gelu": lambda x: nn.gelu(x, approximate=True), "silu": nn.silu}
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


def columns(*inputs: Any) -> Array:
    """Inputs side by side, each repeated over the axes that a later one has between its leading and its last axis.

    A number stands for a column of it. Shapes (B, S), (B, N, D), 0.5 -> (B, N, S + D + 1).
    """
    arrays = [jnp.asarray(each, jnp.float32) for each in inputs]
    widest = max(arrays, key=lambda array: array.ndim)
    rows, axes = widest.shape[:-1], widest.ndim

    def aligned(array: Array) -> Array:
        shape = array.shape or (1,)
        lead = () if len(shape) == 1 else shape[:-1]
        array = array.reshape(lead + (1,) * (axes - len(lead) - 1) + shape[-1:])
        return jnp.broadcast_to(array, (*rows, shape[-1]))

    return jnp.concatenate([aligned(array) for array in arrays], axis=-1)


@dataclass(frozen=True)
class Network:
    """A network: its module, the sizes of its inputs beside the observation, and how many times follow them."""

    problem: Problem
    module: nn.Module
    given: tuple[int, ...] = ()
    times: int = 0

    def init(self, key: Array) -> Parameters:
        """Fresh parameters, every leaf strongly typed."""
        obs = jnp.zeros((1, *self.problem.observation), jnp.float32)
        inputs = [jnp.zeros((1, size), jnp.float32) for size in self.given] + [jnp.zeros((1, 1))] * self.times
        return self.module.init(key, self.row(obs, *inputs))["params"]

    def row(self, obs: Array, *inputs: Any) -> Array:
        """The module's input: observation, inputs, then times as features."""
        kind = self.problem.backbone.time_features
        plain, times = inputs[: len(self.given)], inputs[len(self.given) :]
        embedded = [time_features(jnp.asarray(t, jnp.float32).reshape(jnp.shape(t) or (1,)), kind) for t in times]
        return columns(obs, *plain, *embedded)

    def bind(self, parameters: Parameters) -> Bound:
        return Bound(self, parameters)

    def __call__(self, parameters: Parameters, obs: Array, *inputs: Any) -> Any:
        return self.module.apply({"params": parameters}, self.row(obs, *inputs))


@dataclass(frozen=True)
class Bound:
    """A network with parameters, waiting for its observation."""

    network: Network
    parameters: Parameters

    def at(self, obs: Any) -> Any:
        """The network as a function of everything but the observation."""
        return lambda *inputs: self.network(self.parameters, obs, *inputs)


@dataclass(frozen=True)
class FlowNetwork(Network):
    """The base flow: v(s, x, t) of width D."""

    def bind(self, parameters: Parameters) -> BoundFlow:
        return BoundFlow(self, parameters)


@dataclass(frozen=True)
class BoundFlow(Bound):
    def at(self, obs: Any) -> FlowAt:
        return FlowAt(self, obs)


@dataclass(frozen=True)
class FlowAt:
    """A velocity field at an observation. Whatever offers these four (a frozen VLA, say) can be the base flow.

    On this network the latent that the flow moves is the action chunk itself.
    """

    bound: Bound
    obs: Any

    def __call__(self, x: Array, t: Any) -> Array:
        """Velocity at x (*, D) and time t (a number, or (*, 1)); differentiable in x."""
        return self.bound.network(self.bound.parameters, self.obs, x, t)

    def start(self, draw: Draw, name: str) -> Array:
        """Starting noise (a latent), t = 0."""
        return draw.normal(name, self.bound.network.problem.shape(self.obs))

    def to_action(self, x: Array) -> Array:
        """The flow's own map from latent to action."""
        return x

    def real(self, x: Array) -> Array:
        """The entries of a latent that reach the action; norms are taken over these."""
        return x


@dataclass(frozen=True)
class CriticNetwork(Network):
    """Q(s, a), and Q(s, x, t) where timed; called without a time it means the clean time 1."""

    def __call__(self, parameters: Parameters, obs: Array, *inputs: Any) -> Array:
        chunk, *times = inputs
        if self.times and not times:
            times = [1.0]
        return super().__call__(parameters, obs, chunk, *times)


@dataclass(frozen=True)
class GaussianNetwork(Network):
    """Mean and log-std (*, D) of a tanh-Gaussian; the log-std is clipped to [-20, 2]."""

    log_std_range: ClassVar[tuple[float, float]] = (-20.0, 2.0)

    def __call__(self, parameters: Parameters, obs: Array, *inputs: Any) -> tuple[Array, Array]:
        mean, log_std = super().__call__(parameters, obs, *inputs)
        return mean, jnp.clip(log_std, *self.log_std_range)


@dataclass(frozen=True)
class DeterministicNetwork(Network):
    """tanh of one head (*, D)."""

    def __call__(self, parameters: Parameters, obs: Array, *inputs: Any) -> Array:
        (mean,) = super().__call__(parameters, obs, *inputs)
        return jnp.tanh(mean)


@dataclass(frozen=True)
class ValueNetwork(Network):
    """V(s), shape (*)."""

    def __call__(self, parameters: Parameters, obs: Array, *inputs: Any) -> Array:
        return super().__call__(parameters, obs)[..., 0]


@dataclass(frozen=True)
class ScalarNetwork(Network):
    """A learned positive scalar: no observation."""

    def init(self, key: Array) -> Parameters:
        return self.module.init(key)["params"]

    def bind(self, parameters: Parameters) -> Any:
        return lambda: self.module.apply({"params": parameters})


def _actor(problem: Problem, outputs: int) -> MLP:
    backbone = problem.backbone
    return MLP((*backbone.actor_widths, outputs), backbone.activation, backbone.actor_layer_norm)


def velocity_field(problem: Problem) -> FlowNetwork:
    """v on [s, x, t]."""
    return FlowNetwork(problem, _actor(problem, problem.D), given=(problem.D,), times=1)


def one_step(problem: Problem) -> Network:
    """mu on [s, z]: noise to chunk in one step, no time."""
    return Network(problem, _actor(problem, problem.D), given=(problem.D,))


def flow_map(problem: Problem) -> Network:
    """Average velocity on [s, x_bar, x, t, u, e]: from x_bar at time u to time e, in the context (t, x, s)."""
    return Network(problem, _actor(problem, problem.D), given=(problem.D, problem.D), times=3)


def critic(problem: Problem, timed: bool = False) -> CriticNetwork:
    """J heads on [s, a] or, timed, on [s, x, t]."""
    backbone = problem.backbone
    module = Ensemble(
        backbone.value_widths, backbone.activation, backbone.value_layer_norm, backbone.heads, backbone.value_start
    )
    return CriticNetwork(problem, module, given=(problem.D,), times=int(timed))


def value(problem: Problem) -> ValueNetwork:
    """V on [s]: one network, no ensemble."""
    backbone = problem.backbone
    widths = (*backbone.value_widths, 1)
    return ValueNetwork(
        problem, MLP(widths, backbone.activation, backbone.value_layer_norm, last_bias=backbone.value_start)
    )


def tanh_normal(problem: Problem, given: tuple[int, ...] = ()) -> GaussianNetwork:
    """Mean and log-std on [s, given...]."""
    backbone = problem.backbone
    heads = Heads(backbone.actor_widths, backbone.activation, problem.D, ("mean", "log_std"))
    return GaussianNetwork(problem, heads, given=given)


def deterministic(problem: Problem) -> DeterministicNetwork:
    """tanh-mean on [s], its head initialised 0.1 times as wide as Xavier (scale 0.01 of the variance)."""
    backbone = problem.backbone
    heads = Heads(backbone.actor_widths, backbone.activation, problem.D, ("mean",), scale=0.01)
    return DeterministicNetwork(problem, heads)


def temperature(problem: Problem) -> ScalarNetwork:
    """exp(theta)."""
    return ScalarNetwork(problem, Scalar())
