"""The layers of settings, with the provenance of each value.

Later wins: defaults of the program < suite facts < preset < the method's [default] < [domain.*] < [preset.*.*] <
``--set run.*`` < [run] < ``--set METHOD.*``. A method's file may set its own hyperparameters and any setting of the
run; what stands in [run] is part of the method. An unknown key is an error.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import methods
from benchmark.planning.errors import SettingsError, nearest
from benchmark.planning.words import COMMAND_LINE, SWEPT
from envs import load_suite, suites
from envs._suite import Task
from methods._contract import Backbone, Method, Problem

PRESETS = Path(__file__).parent / "presets"

BACKBONES: dict[str, dict[str, Any]] = {
    "reference": {"activation": "gelu", "time_features": "raw"},
    "paper": {"activation": "silu", "time_features": "fourier"},
}
"""`reference`: Li & Levine 2026 (arXiv 2601.14234); `paper`: QPILOTS (arXiv 2606.14801), Appendix C."""
AS_PUBLISHED = "as_published"
BACKBONES_ASKED = (*BACKBONES, AS_PUBLISHED)
Layer = tuple[str, Mapping[str, Any]]
"""Where values came from, and the values."""


@dataclass(frozen=True)
class Settings:
    """What a run fixes beside its method; each changes numbers and so is part of the key. Steps are updates (offline)
    and environment steps (online). ``clip_norm`` 0 is no clipping; ``value_start`` is the last bias of every critic.
    ``sampling``: batches from all rows alike, or half offline and half online. ``warm_up``: who acts online before
    ``start_training``, the policy or uniform noise."""

    chunk_length: int
    discount: float
    pessimism: float
    sparse: bool
    horizon: int
    offline_steps: int = 1_000_000
    online_steps: int = 500_000
    start_training: int = 5_000
    evaluate_every: int = 50_000
    evaluation_episodes: int = 50
    log_every: int = 5_000
    rotate_every: int = 1_000
    batch_size: int = 256
    learning_rate: float = 3e-4
    target_rate: float = 0.005
    clip_norm: float = 0.0
    flow_steps: int = 10
    heads: int = 10
    actor_widths: tuple[int, ...] = (512, 512, 512, 512)
    value_widths: tuple[int, ...] = (512, 512, 512, 512)
    value_start: float = 0.0
    sampling: str = "joint"
    warm_up: str = "policy"


def before(declared: type) -> dict[str, Any]:
    """What each setting that was `added` to a dataclass says of what was before."""
    return {each.name: each.metadata["before"] for each in dataclasses.fields(declared) if "before" in each.metadata}


def told(declared: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a configuration holds: all but those that are as before."""
    left_out = before(declared)
    return {key: value for key, value in values.items() if key not in left_out or value != left_out[key]}


WORDS = {"sampling": ("joint", "balanced"), "warm_up": ("policy", "uniform")}
"""Settings that are one of a few words."""
FACTS = ("chunk_length", "discount", "pessimism", "sparse", "horizon")
AT_LEAST_ONE = ("chunk_length", "horizon", "evaluate_every", "evaluation_episodes", "log_every", "rotate_every")
AT_LEAST_ONE += ("batch_size", "flow_steps", "heads", "start_training")


@dataclass
class Resolved:
    """Settings of the run and hyperparameters of the method, and where each value came from."""

    settings: dict[str, Any]
    hyperparameters: dict[str, Any]
    provenance: dict[str, str] = field(default_factory=dict)


@cache
def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file; an error names the file and the place."""
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}") from error


def presets(suite: str) -> list[str]:
    """Presets that serve a suite."""
    return sorted(path.stem for path in PRESETS.glob("*.toml") if suite in read_toml(path))


def preset_table(suite: str, preset: str) -> dict[str, Any]:
    """The preset's table for a suite."""
    return _preset_table(PRESETS, suite, preset)


@cache
def _preset_table(folder: Path, suite: str, preset: str) -> dict[str, Any]:
    known = presets(suite)
    if preset not in known:
        raise SettingsError(
            f"suite {suite!r} has no preset {preset!r}; it has {', '.join(known)}{nearest(preset, known)}"
        )
    table = read_toml(folder / f"{preset}.toml")[suite]
    only(f"preset {preset} [{suite}]", table, ("tasks", "seeds", "settings", "data", "cost"))
    return table


def only(where: str, table: Iterable[str], known: Iterable[str]) -> None:
    """Raise on a key or table that nobody would read."""
    for name in table:
        if name not in set(known):
            raise SettingsError(f"{name!r} in {where} is nothing that anybody reads{nearest(name, known)}")


def read_values() -> dict[str, dict[str, Any]]:
    """The settings of each value rule, with their sources."""
    return read_toml(methods.FOLDER / "_values.toml")


@cache
def every_domain() -> frozenset[str]:
    """Domains of all suites."""
    return frozenset(task.domain for suite in suites() for task in load_suite(suite).tasks().values())


def method_table(name: str) -> dict[str, Any]:
    """A method's data file, whose tables are all of things that there are."""
    return _method_table(methods.FOLDER, name)


@cache
def _method_table(folder: Path, name: str) -> dict[str, Any]:
    file, table = f"methods/{name}.toml", read_toml(folder / f"{name}.toml")
    only(file, table, ("default", "domain", "preset", "run", "cost"))
    only(f"{file} [domain]", table.get("domain", {}), every_domain())
    stems = [path.stem for path in PRESETS.glob("*.toml")]
    only(f"{file} [preset]", table.get("preset", {}), stems)
    for preset, tables in table.get("preset", {}).items():
        only(f"{file} [preset.{preset}]", tables, suites())
    return table


@cache
def hyperparameter_types(cls: type[Method]) -> dict[str, type]:
    """Fields of a method and their types."""
    hints = get_type_hints(cls)
    return {each.name: hints[each.name] for each in dataclasses.fields(cls)}


@cache
def setting_types(declared: type) -> dict[str, type]:
    """Settings of the run and their types."""
    return get_type_hints(declared)


def typed(where: str, key: str, value: Any, wanted: Any) -> Any:
    """The value as its declared type; an int serves as a float, and a list as a tuple."""
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if getattr(wanted, "__origin__", None) is tuple:
        if isinstance(value, list | tuple) and value and all(type(each) is int and each > 0 for each in value):
            return tuple(value)
    elif type(value) is wanted:
        if wanted is float and not math.isfinite(value):
            raise SettingsError(f"{key} in {where} is {value}; give a finite number")
        return value
    wanted_name = "list of widths" if getattr(wanted, "__origin__", None) is tuple else wanted.__name__
    raise SettingsError(f"{key} in {where} is {value!r}; it must be a {wanted_name}")


def run_layers(task: Task, suite: str, preset: str) -> list[Layer]:
    """The layers that no method takes part in, lowest first."""
    facts = {key: getattr(task, key) for key in FACTS}
    defaults = {each.name: each.default for each in dataclasses.fields(Settings) if each.name not in facts}
    of_preset = preset_table(suite, preset).get("settings", {})
    return [("program", defaults), (f"suite {suite}, {task.domain}", facts), (f"preset {preset} [{suite}]", of_preset)]


def layers(cls: type[Method], name: str, task: Task, suite: str, preset: str) -> list[Layer]:
    """Every layer but the command line's, lowest first."""
    file, table = f"methods/{name}.toml", method_table(name)
    program, *of_run = run_layers(task, suite, preset)
    return [
        program,
        (f"methods/{name}.py", {"clip_norm": cls.clip_norm}),
        *of_run,
        (f"{file} [default]", table.get("default", {})),
        (f"{file} [domain.{task.domain}]", table.get("domain", {}).get(task.domain, {})),
        (f"{file} [preset.{preset}.{suite}]", table.get("preset", {}).get(preset, {}).get(suite, {})),
        (f"{file} [run]", table.get("run", {})),
    ]


def resolve(cls: type[Method], name: str, task: Task, suite: str, preset: str, asked: Sequence[Layer] = ()) -> Resolved:
    """All values of one (method, task); ``asked`` are the layers of the command line."""
    run_types, own_types = setting_types(Settings), hyperparameter_types(cls)
    resolved = Resolved({}, {"best_of_n": 1}, {"hyperparameters.best_of_n": "program"})
    for where, values in [*layers(cls, name, task, suite, preset), *asked]:
        cites = where not in (COMMAND_LINE, SWEPT) and "source" in values
        source = f" ({values['source']})" if cites else ""
        for key, value in values.items():
            if cites and key == "source":
                continue
            kind, types = ("hyperparameters", own_types) if key in own_types else ("settings", run_types)
            if key not in types:
                hint = nearest(key, [*own_types, *run_types])
                raise SettingsError(f"{key!r} in {where} is no setting of the run or of {name}{hint}")
            getattr(resolved, kind)[key] = typed(where, key, value, types[key])
            resolved.provenance[f"{kind}.{key}"] = where + source
    missing = set(own_types) - set(resolved.hyperparameters)
    if missing:
        raise SettingsError(f"{sorted(missing)[0]!r} of {name} has no value; give one in methods/{name}.toml [default]")
    try:
        check(resolved.settings, resolved.hyperparameters)
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None
    return resolved


def check(settings: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> None:
    """Raise on values that no run could use."""
    for key in AT_LEAST_ONE:
        if settings[key] < 1:
            raise SettingsError(f"{key} is {settings[key]}; it must be at least 1")
    if min(settings["offline_steps"], settings["online_steps"]) < 0:
        raise SettingsError("offline_steps and online_steps must not be negative")
    if settings["offline_steps"] + settings["online_steps"] == 0:
        raise SettingsError("offline_steps and online_steps are both 0, which leaves nothing to do; raise one of them")
    if not 0.0 <= settings["discount"] <= 1.0:
        raise SettingsError(f"discount is {settings['discount']}; it must lie in [0, 1]")
    for key, known in WORDS.items():
        if settings[key] not in known:
            hint = nearest(settings[key], known)
            raise SettingsError(f"{key} is {settings[key]!r}; it is one of {', '.join(known)}{hint}")
    if settings["sampling"] == "balanced":
        if settings["offline_steps"]:
            raise SettingsError(
                "sampling is balanced, and offline there are no rows to balance; set offline_steps=0, or sampling=joint"
            )
        if settings["start_training"] < settings["chunk_length"]:
            raise SettingsError("sampling is balanced; start_training must be at least chunk_length")
    if settings["offline_steps"] == 0 and settings["online_steps"] < settings["start_training"]:
        raise SettingsError(
            f"online_steps is {settings['online_steps']} and training starts at {settings['start_training']}, so that "
            "nothing would be trained; raise online_steps or lower start_training"
        )
    for key, value in hyperparameters.items():
        if type(value) is int and value < 1:
            raise SettingsError(f"{key} is {value}; it must be at least 1")


def backbone_name(asked: str, cls: type[Method]) -> str:
    """The backbone that a method is built on when the run asks for one of BACKBONES_ASKED."""
    return cls.published_backbone if asked == AS_PUBLISHED else asked


def problem(settings: Settings, task: Task, backbone: str) -> Problem:
    """The static part of a run."""
    return Problem(
        observation=task.observation,
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
        ),
    )
