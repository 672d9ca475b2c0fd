"""Value learning, an axis of its own: how the critic learns, whatever the method does with it.

A rule brings its own networks and losses, says which networks are averaged, and which optional fields of a batch it
``needs``. The ``next_act(views, obs)`` that it is given is the method's own sampler, already best-of-n and held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from methods._critic import backed_up, pessimistic_value, td_loss
from methods._given import Batch, Draw, Problem, Views
from methods._nets import value
from methods._ranges import Fraction
from methods._traced import Traced

Array = jax.Array
NextAct = Callable[[Views, Any], Array]


@dataclass(frozen=True)
class TD(Traced):
    """y = R + gamma^H m Qbar'(s', a') with a' from the method's own sampler and the averaged, pessimistic critic."""

    averaged: ClassVar[tuple[str, ...]] = ("critic",)
    needs: ClassVar[tuple[str, ...]] = ()

    def networks(self, problem: Problem) -> dict[str, Any]:
        return {}

    def losses(self, views: Views, batch: Batch, next_act: NextAct, draw: Draw) -> dict[str, Array]:
        value_at = pessimistic_value(views.slow.critic.at(batch.next_obs), views.problem)
        target = backed_up(views.problem, batch, value_at(next_act(views, batch.next_obs)))
        return {"critic_loss": td_loss(views, batch, target)}


@dataclass(frozen=True)
class IQL(Traced):
    """Implicit Q-learning (Kostrikov et al. 2021, arXiv 2110.06169) over chunks: V by expectile regression.

    u = Qbar'(s, a) - V(s), L_V = E_b[|kappa - 1{u < 0}| u^2] (not weighted by ``valid``, as released by Li & Levine
    2026), and y = R + gamma^H m V(s') with the trained V, held.
    """

    expectile: Fraction

    averaged: ClassVar[tuple[str, ...]] = ("critic",)
    needs: ClassVar[tuple[str, ...]] = ()

    def networks(self, problem: Problem) -> dict[str, Any]:
        return {"value": value(problem)}

    def losses(self, views: Views, batch: Batch, next_act: NextAct, draw: Draw) -> dict[str, Array]:
        better = pessimistic_value(views.slow.critic.at(batch.obs), views.problem)(batch.chunk)
        surprise = better - views.live.value.at(batch.obs)()
        value_loss = jnp.mean(jnp.abs(self.expectile - (surprise < 0)) * jnp.square(surprise))
        target = backed_up(views.problem, batch, views.held.value.at(batch.next_obs)())
        return {"value_loss": value_loss, "critic_loss": td_loss(views, batch, target)}


RULES: dict[str, type] = {"td": TD, "iql": IQL}
"""What ``--value`` can name."""
