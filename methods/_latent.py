"""What a flow moves in place of an action: latents, which hold more entries than an action and other units.

A vision-language-action flow moves normalised, padded actions. Norms and guidance are about the entries that reach an
action, critics and clips about the action itself. QPILOTS (arXiv 2606.14801), Section 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

Array = jax.Array


@dataclass(frozen=True)
class Latent:
    """Each step of a latent has ``width`` entries W, of which the first A become ``scale`` x + ``shift``, A numbers
    each; the rest is padding. Flat chunks are time-major: (*, H W) and (*, H A)."""

    width: int
    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def _steps(self, flat: Array, size: int) -> Array:
        return flat.reshape(*flat.shape[:-1], flat.shape[-1] // size, size)

    def _flat(self, steps: Array) -> Array:
        return steps.reshape(*steps.shape[:-2], -1)

    def to_action(self, x: Array) -> Array:
        """The action that a latent stands for; differentiable."""
        inside = self._steps(x, self.width)[..., : len(self.scale)]
        return self._flat(inside * jnp.asarray(self.scale, x.dtype) + jnp.asarray(self.shift, x.dtype))

    def from_action(self, action: Array) -> Array:
        """The latent of an action: the inverse of `to_action`, with zero padding."""
        steps = self._steps(action, len(self.scale))
        inside = (steps - jnp.asarray(self.shift, steps.dtype)) / jnp.asarray(self.scale, steps.dtype)
        return self._flat(self._padded(inside))

    def real(self, x: Array) -> Array:
        """The latent with its padding zeroed."""
        return self._flat(self._padded(self._steps(x, self.width)[..., : len(self.scale)]))

    def _padded(self, steps: Array) -> Array:
        return jnp.pad(steps, [(0, 0)] * (steps.ndim - 1) + [(0, self.width - len(self.scale))])
