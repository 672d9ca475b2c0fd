"""The whole interface: what a method is asked. What it is given stands in `_given`, and can be imported from here.

A method is a frozen value (its hyperparameters) plus pure functions of arrays. The trainer owns parameters, optimiser,
averages, jit and the map over seeds; no function here sees a seed axis.

``diagnostics`` is the one question added to the design this grew from: what a paper says to watch (a plain residual, an
effective sample size) belongs in the record, but not in the loss.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from methods._flow import flow_matching
from methods._given import (
    Act,
    Array,
    Backbone,
    Batch,
    ContractError,
    Copy,
    Draw,
    Leaf,
    Losses,
    Problem,
    Seen,
    Space,
    Views,
    named_key,
    seen,
)
from methods._nets import Network, critic, velocity_field
from methods._ranges import Count, Fraction, NonNegative, Positive, Share
from methods._traced import Traced, added
from methods._values import NextAct

__all__ = [
    "Act",
    "Array",
    "Backbone",
    "Batch",
    "ContractError",
    "Copy",
    "Count",
    "Draw",
    "Fraction",
    "Leaf",
    "Losses",
    "Method",
    "Network",
    "NonNegative",
    "Positive",
    "Problem",
    "Seen",
    "Share",
    "Space",
    "ValueRule",
    "Views",
    "added",
    "named_key",
    "seen",
]


class ValueRule(Protocol):
    """How the critic learns; see `methods._values`."""

    averaged: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]]

    def networks(self, problem: Problem) -> dict[str, Network]: ...

    def losses(self, views: Views, batch: Batch, next_act: NextAct, draw: Draw) -> Losses: ...


@dataclass(frozen=True)
class Method(Traced):
    """The questions a method answers. Its fields are its hyperparameters; a ``float`` is traced, the rest is static."""

    best_of_n: Count = field(default=1, kw_only=True)
    """Candidates for each action, the best kept by the held critic's mean; the trainer wraps `act` and `next_act`."""

    family: ClassVar[str] = ""
    """Gaussian (an actor of its own), backprop (through the critic into a flow, or an actor distilled from it),
    fine-tuning (of the base policy), steering (of a base policy that stays as cloned), or cloning."""
    averaged: ClassVar[tuple[str, ...]] = ("critic",)
    """Networks with a slow copy, beside the value rule's."""
    average_every: ClassVar[Count] = 1
    """Slow copies move in iterations that are a multiple of this."""
    clip_norm: ClassVar[NonNegative] = 0.0
    """Global norm over all networks together that gradients are clipped to; 0 is no clipping."""
    critic_terms: ClassVar[tuple[str, ...]] = ()
    """Terms of `losses` that train the critic."""
    published_backbone: ClassVar[Literal["reference", "paper"]] = "reference"
    """The backbone that its published numbers were made with, for ``--backbone as_published``."""
    known_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of the contract test that it fails, each with the reason."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """A method built on another one is checked for itself: known failures are not inherited."""
        super().__init_subclass__(**arguments)
        cls.known_failures = vars(cls).get("known_failures", {})

    def networks(self, problem: Problem) -> dict[str, Network]:
        return {"flow": velocity_field(problem), "critic": critic(problem)}

    def keeps(self, problem: Problem) -> dict[str, int]:
        """What an update needs of a decision beside its chunk, by name, with its size; none where ``problem.decisions``
        is false. `act` and `base_act` answer with it, and it is there as ``batch.kept[name]`` (B, size)."""
        return {}

    def base_loss(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        """Every term that needs data and no critic: cloning of the base policy. Not called where the flow is given."""
        return {"flow_loss": flow_matching(views.live.flow, batch, draw)}

    def losses(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        """Every further term."""
        return {}

    @abstractmethod
    def act(self, views: Views, obs: Any, draw: Draw) -> Any:
        """Chunks (B, D) in [-1, 1] at observations (B, ...), which networks take by ``at``; reads ``held``, ``slow``,
        never ``live``. Where something is kept: the chunks, and {name: (B, size)}."""

    def next_act(self, views: Views, obs: Any, draw: Draw) -> Any:
        """The action of the TD target."""
        return self.act(views, obs, draw)

    def base_act(self, views: Views, obs: Any, draw: Draw) -> Any:
        """As `act`, before training starts, in a run whose base acts until then; none is what the base does unasked,
        of which nothing is kept."""
        return None

    @property
    def value(self) -> ValueRule | None:
        """The rule that its critic learns by, unless the run asks for another; none is the suite's, or else TD."""
        return None

    def diagnostics(self, views: Views, batch: Batch, draw: Draw) -> Losses:
        """Numbers to record beside the losses; computed at log points only, never differentiated."""
        return {}
