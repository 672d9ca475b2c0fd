"""What a cell's configuration describes, built: task, agent, data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import jax

import methods
from benchmark.planning.plan import Cell, as_settings, build_method, task_of, value_rule
from benchmark.planning.settings import FACTS, Settings, backbone_name, problem
from benchmark.training import agents, assembly
from benchmark.training.optimiser import Optimiser
from benchmark.training.replay import Table, offline_table
from benchmark.training.sampling import with_returns
from envs import load_suite
from envs._suite import Base, Dataset, Suite, Task
from methods._contract import ContractError, Leaf, Problem, Space
from methods._frozen import Parts, given_parts


@dataclass(frozen=True)
class Site:
    """Where packs run; nothing in here changes a number. ``about`` goes into the record of each attempt; ``keep`` says
    what stays of a finished run's checkpoints: all, parameters or nothing; ``keep_stale`` whether a run goes on that
    other code of its method began; ``later`` tells more for the record, once the data are open."""

    root: Path
    data: Path
    env_workers: int
    about: dict[str, Any]
    keep: str = "all"
    keep_stale: bool = False
    later: Callable[[], dict[str, str]] = dict


@dataclass
class Shared:
    """What the members of a pack have in common: task, agent, data; one shard is on the device at a time."""

    suite: Suite
    task: Task
    settings: Settings
    agent: agents.Agent
    dataset: Dataset
    base: Base | None = None
    shard: int = -1
    current: Table = field(init=False)

    def table(self, iteration: int) -> Table:
        """The shard for an iteration: the next one cyclically, from each multiple of ``rotate_every`` on."""
        wanted = iteration // self.settings.rotate_every % len(self.dataset)
        if wanted != self.shard:
            problem, table = self.agent.problem, offline_table(self.dataset[wanted], self.agent.problem)
            needed = "return_to_go" in self.agent.rule.needs
            self.shard, self.current = wanted, with_returns(table, problem.row_discount) if needed else table
        return self.current

    def next_rotation(self, step: int) -> int:
        """The last step before the next shard is due."""
        every = self.settings.rotate_every
        return ((step + 1) // every + 1) * every - 1


def _described(cell: Cell) -> tuple[Settings, Task, agents.Agent]:
    configuration = cell.configuration
    settings = as_settings(configuration["settings"])
    facts = {key: getattr(settings, key) for key in FACTS}
    task = replace(task_of(cell), **facts)
    cls = methods.load(cell.method)
    method = build_method(cls, configuration)
    base = load_suite(configuration["suite"]).base(task) if task.base else None
    static = problem(settings, task, backbone_name(configuration["backbone"], cls), base)
    rule, parts = value_rule(configuration, method), given(base, static) if base else None
    return settings, task, assembly.unchecked(method, rule, static, optimiser_of(settings), parts)


def check_agent(cell: Cell) -> None:
    """Raise ContractError where an agent can't be built. Without a base, decisions or a warm-up by the base what can be
    told at once is all that there is to tell: its networks are not asked, which takes a second."""
    settings, task, agent = _described(cell)
    if task.base or task.decisions or settings.warm_up == "base":
        build_agent(cell)
    else:
        assembly.check(agent)


def build_agent(cell: Cell) -> tuple[Settings, Task, agents.Agent]:
    """What a cell's configuration describes; needs no data. Raises ContractError where it can't be built."""
    settings, task, agent = _described(cell)
    if settings.warm_up == "uniform" and (kept := list(agent.method.keeps(agent.problem))):
        raise ContractError(f"it keeps {kept[0]!r} of each decision, and a uniform warm-up has none; set warm_up=base")
    if task.base or task.decisions or settings.warm_up == "base":
        seen = Space(tuple(Leaf(*leaf) for leaf in (*task.observation, *task.seen)))
        assembly.check(agent)
        assembly.check_acting(agent, seen.zeros(1), settings.warm_up == "base")
    return settings, task, assembly.whole(agent)


def optimiser_of(settings: Settings) -> Optimiser:
    return Optimiser(
        settings.learning_rate,
        settings.target_rate,
        settings.clip_norm,
        settings.batch_size,
        balanced=settings.sampling == "balanced",
        rates=settings.learning_rates,
        warm_up=settings.learning_rate_warm_up,
        decay=settings.learning_rate_decay,
        end=settings.learning_rate_end,
        shift=settings.random_shift,
        updates_per_step=Fraction(settings.updates_per_step).limit_denominator(1000),
    )


@cache
def given(base: Base, static: Problem) -> Parts:
    """A task's base as parts that stand for networks."""
    return given_parts(static, base.encode, base.velocity, base.needs, base.map_steps, base.called_back, base.arrays)


def share(site: Site, cell: Cell) -> Shared:
    """Build what the members of a cell's pack share; opens the data."""
    settings, task, agent = build_agent(cell)
    agent = replace(agent, arrays=jax.device_put(agent.arrays))
    suite = load_suite(cell.configuration["suite"])
    base = suite.base(task) if task.base else None
    return Shared(suite, task, settings, agent, suite.load(task, cell.configuration["data"], site.data), base)
