"""Networks: what each maps to what, its sizes, and how it is bound to parameters and to an observation.

A network is first bound to parameters, then given its observation, then called: ``views.held.critic.at(obs)(chunk)``.
It knows the sizes of its own inputs, so that the trainer can make it. Every input may carry more axes between the
leading ones and the last than the observation does (candidates, posterior samples): the observation is repeated there.

Reference for widths, order of inputs, activation and initialisation: Li & Levine 2026 (arXiv 2601.14234), appendix and
released code; the `paper` backbone and the flow map: QPILOTS (arXiv 2606.14801), Appendix C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._given import Draw, Problem
from methods._modules import MLP, Denoiser, Ensemble, Heads, Module, Scalar, columns, time_features

Array = jax.Array
Parameters = Any
"""A pytree of arrays."""


@dataclass(frozen=True)
class Network:
    """A network: its module, the sizes of its inputs beside the observation, and how many times follow them."""

    problem: Problem
    module: Module
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


def denoiser(problem: Problem) -> Network:
    """eps on [s, x, t], t in 1..T as one number: the base of the diffusion methods."""
    # The time is an ordinary input: its features are the module's own, on every backbone.
    return Network(problem, Denoiser(problem.backbone.actor_widths, problem.D), given=(problem.D, 1))


def deterministic(problem: Problem) -> DeterministicNetwork:
    """tanh-mean on [s], its head initialised 0.1 times as wide as Xavier (scale 0.01 of the variance)."""
    backbone = problem.backbone
    heads = Heads(backbone.actor_widths, backbone.activation, problem.D, ("mean",), scale=0.01)
    return DeterministicNetwork(problem, heads)


def temperature(problem: Problem) -> ScalarNetwork:
    """exp(theta)."""
    return ScalarNetwork(problem, Scalar())
