"""What a cell's configuration describes, built: task, agent, data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import methods
from benchmark.planning.plan import Cell, as_settings, build_method, value_rule
from benchmark.planning.settings import FACTS, Settings, backbone_name, problem
from benchmark.training import agents
from benchmark.training.replay import Table, offline_table
from envs import load_suite
from envs._suite import Dataset, Suite, Task


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
    shard: int = -1
    current: Table = field(init=False)

    def table(self, iteration: int) -> Table:
        """The shard for an iteration: the next one cyclically, from each multiple of ``rotate_every`` on."""
        wanted = iteration // self.settings.rotate_every % len(self.dataset)
        if wanted != self.shard:
            self.shard, self.current = wanted, offline_table(self.dataset[wanted])
        return self.current

    def next_rotation(self, step: int) -> int:
        """The last step before the next shard is due."""
        every = self.settings.rotate_every
        return ((step + 1) // every + 1) * every - 1


def build_agent(cell: Cell) -> tuple[Settings, Task, agents.Agent]:
    """What a cell's configuration describes; needs no data."""
    configuration = cell.configuration
    settings = as_settings(configuration["settings"])
    facts = {key: getattr(settings, key) for key in FACTS}
    task = Task(**{**vars(load_suite(configuration["suite"]).tasks()[cell.task]), **facts})
    cls = methods.load(cell.method)
    method = build_method(cls, configuration)
    optimiser = agents.Optimiser(
        settings.learning_rate,
        settings.target_rate,
        settings.clip_norm,
        settings.batch_size,
        balanced=settings.sampling == "balanced",
    )
    static = problem(settings, task, backbone_name(configuration["backbone"], cls))
    return settings, task, agents.build(method, value_rule(configuration, method), static, optimiser)


def share(site: Site, cell: Cell) -> Shared:
    """Build what the members of a cell's pack share; opens the data."""
    settings, task, agent = build_agent(cell)
    suite = load_suite(cell.configuration["suite"])
    return Shared(suite, task, settings, agent, suite.load(task, cell.configuration["data"], site.data))
