"""Networks: what each maps to what, its sizes, and how it is bound to parameters and to an observation.

A network is first bound to parameters, then given its observation, then called: ``views.held.critic.at(obs)(chunk)``.
It knows the sizes of its own inputs, so that the trainer can make it. Every input may carry more axes between the
leading ones and the last than the observation does (candidates, posterior samples): the observation is repeated there.
Frames are seen through an encoder of the network's own, once for an observation, so that no loss reaches another's.

Reference for widths, order of inputs, activation and initialisation: Li & Levine 2026 (arXiv 2601.14234), appendix and
released code; the `paper` backbone and the flow map: QPILOTS (arXiv 2606.14801), Appendix C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from methods._given import ContractError, Draw, Problem, Seen, named_key, seen
from methods._modules import MLP, Denoiser, Encoder, Ensemble, Heads, Module, Scalar, columns, moved, time_features

Array = jax.Array
Parameters = Any
"""A pytree of arrays."""


class Look(NamedTuple):
    """What a network makes of an observation: features (B, F), standing for rows (B, [N])."""

    features: Array
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """A network: its module, the sizes of its inputs beside the observation, and how many times follow them."""

    problem: Problem
    module: Module
    given: tuple[int, ...] = ()
    times: int = 0
    frozen: ClassVar[bool] = False

    @property
    def encoder(self) -> Encoder:
        backbone = self.problem.backbone
        sizes = {leaf.shape[:2] for leaf in self.problem.observation.leaves if len(leaf.shape) == 3}
        if len(sizes) > 1:
            words = " and ".join(f"{high}x{wide}" for high, wide in sorted(sizes))
            raise ContractError(
                f"frames of {words} pixels can't be seen by one encoder; the suite has to give them one size"
            )
        left = smallest = min(min(size) for size in sizes)
        for stride in backbone.encoder_strides:
            left = (left - 3) // stride + 1
            if left < 1:
                raise ContractError(
                    f"a frame {smallest} pixels wide is too small for encoder_strides {backbone.encoder_strides}; give "
                    "fewer, or smaller ones"
                )
        return Encoder(backbone.encoder_channels, backbone.encoder_strides, backbone.encoder_size)

    def init(self, key: Array) -> Parameters:
        """Fresh parameters, every leaf strongly typed; those of an encoder stand beside the module's."""
        obs, encoder = seen(self.problem.observation.zeros(1)), {}
        if self.problem.observation.frames:
            encoder = self.encoder.init(named_key(key, "encoder"), self.frames(obs))["params"]
        inputs = [jnp.zeros((1, size), jnp.float32) for size in self.given] + [jnp.zeros((1, 1))] * self.times
        module = self.module.init(key, self.row(self.look({"encoder": encoder}, obs), *inputs))["params"]
        return {"encoder": encoder, "module": module} if encoder else module

    def frames(self, obs: Seen) -> Array:
        """All images of an observation, side by side in their channels, moved as they are to be seen: uint8."""
        named = self.problem.observation.named(obs.leaves)
        images = jnp.concatenate([named[name] for name in self.problem.observation.frames], axis=-1)
        return images if obs.shift is None else moved(images, obs.shift)

    def look(self, parameters: Parameters, obs: Any) -> Look:
        """The features of an observation: what the encoder says of its frames, then every other leaf as it is."""
        obs, space = seen(obs), self.problem.observation
        named, batch = space.named(obs.leaves), space.rows(obs.leaves)
        plain = [named[leaf.name] for leaf in space.leaves if leaf.name not in space.frames]
        parts = [leaf.reshape(*batch, -1) for leaf in map(jnp.asarray, plain)]
        if space.frames:
            said: Any = self.encoder.apply({"params": parameters["encoder"]}, self.frames(obs))
            parts.insert(0, said)
        features = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)
        return Look(features, self.problem.rows(obs))

    def row(self, look: Look, *inputs: Any) -> Array:
        """The module's input: observation, inputs, then times as features."""
        kind = self.problem.backbone.time_features
        plain, times = inputs[: len(self.given)], inputs[len(self.given) :]
        embedded = [time_features(jnp.asarray(t, jnp.float32).reshape(jnp.shape(t) or (1,)), kind) for t in times]
        return columns(look.features, *plain, *embedded, rows=look.rows)

    def bind(self, parameters: Parameters) -> Bound:
        return Bound(self, parameters)

    def __call__(self, parameters: Parameters, look: Look, *inputs: Any) -> Any:
        mine = parameters["module"] if self.problem.observation.frames else parameters
        return self.module.apply({"params": mine}, self.row(look, *inputs))


@dataclass(frozen=True)
class Bound:
    """A network with parameters, waiting for its observation."""

    network: Network
    parameters: Parameters

    def at(self, obs: Any) -> Any:
        """The network as a function of everything but the observation, which is looked at once."""
        look = self.network.look(self.parameters, obs)
        return lambda *inputs: self.network(self.parameters, look, *inputs)


@dataclass(frozen=True)
class FlowNetwork(Network):
    """The base flow: v(s, x, t) of width L."""

    def bind(self, parameters: Parameters) -> BoundFlow:
        return BoundFlow(self, parameters)


@dataclass(frozen=True)
class BoundFlow(Bound):
    def at(self, obs: Any) -> FlowAt:
        look = self.network.look(self.parameters, obs)
        return FlowAt(self.network.problem, look.rows, lambda x, t: self.network(self.parameters, look, x, t))


@dataclass(frozen=True)
class FlowAt:
    """A velocity field at an observation, for rows (B, [N]) of latents, and what latents have to do with actions."""

    problem: Problem
    rows: tuple[int, ...]
    velocity: Callable[[Array, Any], Array]

    def __call__(self, x: Array, t: Any) -> Array:
        """Velocity at x (*, L) and time t (a number, or (*, 1)); differentiable in x."""
        return self.velocity(x, t)

    def start(self, draw: Draw, name: str, samples: tuple[int, ...] = (), steps: int | None = None) -> Array:
        """Noise, latents of t = 0: ([K,] B, [N,] *samples, L)."""
        return draw.normal(name, (*self.rows, *samples, self.problem.L), steps)

    def to_action(self, x: Array) -> Array:
        """The action that a latent stands for."""
        return self.problem.to_action(x)

    def from_action(self, chunk: Array) -> Array:
        """The latent of an action, its padding zero."""
        return self.problem.from_action(chunk)

    def real(self, x: Array) -> Array:
        """The entries of a latent that reach the action; norms and guidance are about these."""
        return self.problem.real(x)


@dataclass(frozen=True)
class CriticNetwork(Network):
    """Q(s, a), and Q(s, x, t) where timed; called without a time it means the clean time 1."""

    def __call__(self, parameters: Parameters, look: Look, *inputs: Any) -> Array:
        chunk, *times = inputs
        if self.times and not times:
            times = [1.0]
        return super().__call__(parameters, look, chunk, *times)


@dataclass(frozen=True)
class GaussianNetwork(Network):
    """Mean and log-std (*, D) of a tanh-Gaussian; the log-std is clipped to [-20, 2]."""

    log_std_range: ClassVar[tuple[float, float]] = (-20.0, 2.0)

    def __call__(self, parameters: Parameters, look: Look, *inputs: Any) -> tuple[Array, Array]:
        mean, log_std = super().__call__(parameters, look, *inputs)
        return mean, jnp.clip(log_std, *self.log_std_range)


@dataclass(frozen=True)
class DeterministicNetwork(Network):
    """tanh of one head (*, D)."""

    def __call__(self, parameters: Parameters, look: Look, *inputs: Any) -> Array:
        (mean,) = super().__call__(parameters, look, *inputs)
        return jnp.tanh(mean)


@dataclass(frozen=True)
class ValueNetwork(Network):
    """V(s), shape (*)."""

    def __call__(self, parameters: Parameters, look: Look, *inputs: Any) -> Array:
        return super().__call__(parameters, look)[..., 0]


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
    """v on [s, x, t], x a latent."""
    return FlowNetwork(problem, _actor(problem, problem.L), given=(problem.L,), times=1)


def one_step(problem: Problem) -> Network:
    """mu on [s, z]: noise, a latent, to chunk in one step, no time."""
    return Network(problem, _actor(problem, problem.D), given=(problem.L,))


def flow_map(problem: Problem) -> Network:
    """Average velocity on [s, x_bar, x, t, u, e]: from x_bar at time u to time e, in the context (t, x, s)."""
    return Network(problem, _actor(problem, problem.L), given=(problem.L, problem.L), times=3)


def critic(problem: Problem, timed: bool = False, given: int | None = None) -> CriticNetwork:
    """J heads on [s, a] or, timed, on [s, x, t]; in place of actions on noise of ``given`` entries."""
    backbone = problem.backbone
    module = Ensemble(
        backbone.value_widths, backbone.activation, backbone.value_layer_norm, backbone.heads, backbone.value_start
    )
    return CriticNetwork(problem, module, given=(given or problem.D,), times=int(timed))


def value(problem: Problem) -> ValueNetwork:
    """V on [s]: one network, no ensemble."""
    backbone = problem.backbone
    widths = (*backbone.value_widths, 1)
    return ValueNetwork(
        problem, MLP(widths, backbone.activation, backbone.value_layer_norm, last_bias=backbone.value_start)
    )


def tanh_normal(problem: Problem, given: tuple[int, ...] = (), size: int | None = None) -> GaussianNetwork:
    """Mean and log-std on [s, given...]: of an action, or of ``size`` entries of something else."""
    backbone = problem.backbone
    heads = Heads(backbone.actor_widths, backbone.activation, size or problem.D, ("mean", "log_std"))
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
