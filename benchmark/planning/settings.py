"""The layers of settings, with the provenance of each value.

Later wins: defaults of the program < suite facts < preset < the method's [default] < [domain.*] < [preset.*.*] <
``--set run.*`` < [run] < ``--set METHOD.*``. A method's file may set its own hyperparameters and any setting of the
run; what stands in [run] is part of the method. An unknown key is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.planning.data_files import check_complete, fields_of, method_file, number, preset_table
from benchmark.planning.errors import SettingsError, nearest
from benchmark.planning.run_settings import FACTS, Settings, check
from benchmark.planning.words import COMMAND_LINE, SWEPT
from envs._suite import Base, Task
from methods._contract import Backbone, Leaf, Method, Problem, Space
from methods._latent import Latent

BACKBONES: dict[str, dict[str, Any]] = {
    "reference": {"activation": "gelu", "time_features": "raw"},
    "paper": {"activation": "silu", "time_features": "fourier"},
}
"""`reference`: Li & Levine 2026 (arXiv 2601.14234); `paper`: QPILOTS (arXiv 2606.14801), Appendix C."""
AS_PUBLISHED = "as_published"
BACKBONES_ASKED = (*BACKBONES, AS_PUBLISHED)
Layer = tuple[str, Mapping[str, Any]]
"""Where values came from, and the values."""


@dataclass
class Resolved:
    """Settings of the run and hyperparameters of the method, and where each value came from."""

    settings: dict[str, Any]
    hyperparameters: dict[str, Any]
    provenance: dict[str, str] = field(default_factory=dict)


def run_layers(task: Task, suite: str, preset: str) -> list[Layer]:
    """The layers that no method takes part in, lowest first."""
    facts = {key: getattr(task, key) for key in FACTS}
    defaults = {each.name: each.default for each in dataclasses.fields(Settings) if each.name not in facts}
    of_preset = preset_table(suite, preset).settings
    return [("program", defaults), (f"suite {suite}, {task.domain}", facts), (f"preset {preset} [{suite}]", of_preset)]


def layers(cls: type[Method], name: str, task: Task, suite: str, preset: str) -> list[Layer]:
    """Every layer but the command line's, lowest first."""
    file, table = f"methods/{name}.toml", method_file(name)
    program, *of_run = run_layers(task, suite, preset)
    return [
        program,
        (f"methods/{name}.py", {"clip_norm": cls.clip_norm}),
        *of_run,
        (f"{file} [default]", table.default),
        (f"{file} [domain.{task.domain}]", table.domain.get(task.domain, {})),
        (f"{file} [preset.{preset}.{suite}]", table.preset.get(preset, {}).get(suite, {})),
        (f"{file} [run]", table.run),
    ]


def resolve(cls: type[Method], name: str, task: Task, suite: str, preset: str, asked: Sequence[Layer] = ()) -> Resolved:
    """All values of one (method, task); ``asked`` are the layers of the command line."""
    run, own = fields_of(Settings), fields_of(cls)
    resolved = Resolved({}, {"best_of_n": 1}, {"hyperparameters.best_of_n": "program"})
    for where, values in [*layers(cls, name, task, suite, preset), *asked]:
        typed = where in (COMMAND_LINE, SWEPT)
        source = "" if typed or "source" not in values else f" ({values['source']})"
        for key, value in values.items():
            if key == "source" and not typed:
                continue
            kind, types = ("hyperparameters", own) if key in own else ("settings", run)
            if key not in types:
                hint = nearest(key, [*own, *run])
                raise SettingsError(f"{key!r} in {where} is no setting of the run or of {name}{hint}")
            getattr(resolved, kind)[key] = number(value, types[key], where, key) if typed else value
            resolved.provenance[f"{kind}.{key}"] = where + source
    check_complete(name, cls, resolved.hyperparameters)
    try:
        check(resolved.settings, task.offline)
    except SettingsError as error:
        raise type(error)(f"{name}: {error}") from None
    return resolved


def backbone_name(asked: str, cls: type[Method]) -> str:
    """The backbone that a method is built on when the run asks for one of BACKBONES_ASKED."""
    return cls.published_backbone if asked == AS_PUBLISHED else asked


def problem(settings: Settings, task: Task, backbone: str, base: Base | None = None) -> Problem:
    """The static part of a run."""
    return Problem(
        observation=Space(tuple(Leaf(*leaf) for leaf in task.observation)),
        action_size=task.action_size,
        chunk_length=settings.chunk_length,
        discount=settings.discount,
        pessimism=settings.pessimism,
        flow_steps=settings.flow_steps,
        backbone=Backbone(
            **BACKBONES[backbone],
            actor_widths=settings.actor_widths,
            value_widths=settings.value_widths,
            heads=settings.heads,
            value_start=settings.value_start,
            encoder_channels=settings.encoder_channels,
            encoder_strides=settings.encoder_strides,
            encoder_size=settings.encoder_size,
        ),
        decisions=task.decisions,
        latent=Latent(base.width, base.scale, base.shift) if base else None,
    )
