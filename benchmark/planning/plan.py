"""From words to cells: suite x methods x tasks x seeds, each with a key. Needs no data, no tracker, no scheduler."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

import methods
from benchmark.planning.data_files import fields_of, number, preset_table, rule_values
from benchmark.planning.errors import SettingsError, Unfit, nearest
from benchmark.planning.request import OWN, PRESET, Request
from benchmark.planning.run_settings import Settings, before, told
from benchmark.planning.settings import Resolved, resolve
from benchmark.planning.words import COMMAND_LINE, SWEPT, word_of
from envs import load_suite
from envs._documents import STRICT, checked
from envs._suite import Task
from methods._contract import Method, ValueRule
from methods._values import RULES

PROTOCOL = 1
"""Results of different protocols are never compared; it is part of the key."""


def canonical(configuration: Mapping[str, Any]) -> str:
    """The one JSON text of a configuration: sorted keys, floats as repr."""
    return json.dumps(configuration, sort_keys=True, separators=(",", ":"), allow_nan=False)


def key_of(configuration: Mapping[str, Any]) -> str:
    """What a run is named by: a hash of its configuration alone."""
    return hashlib.sha256(canonical(configuration).encode()).hexdigest()[:16]


@with_config(ConfigDict({**STRICT, "extra": "allow"}))
class Configuration(TypedDict):
    """What a run's configuration says at least."""

    protocol: int
    suite: str
    task: str
    domain: str
    method: str
    preset: str
    backbone: str
    value: str
    settings: dict[str, Any]
    hyperparameters: dict[str, Any]
    data: dict[str, Any]
    seed: NotRequired[int | None]


@dataclass(frozen=True)
class Cell:
    """One run: its configuration, and where each value came from."""

    configuration: dict[str, Any]
    provenance: dict[str, str]

    @cached_property
    def key(self) -> str:
        return key_of(self.configuration)

    @property
    def seed(self) -> int:
        return self.configuration["seed"]

    @property
    def method(self) -> str:
        return self.configuration["method"]

    @property
    def task(self) -> str:
        return self.configuration["task"]

    @property
    def swept(self) -> str:
        """What tells the runs of a sweep from each other: 'alpha=0.1'; nothing of others."""
        places = [name.split(".", 1) for name, origin in self.provenance.items() if origin == SWEPT]
        there = [
            (key, self.configuration[part][key]) for part, key in sorted(places) if key in self.configuration[part]
        ]
        return ", ".join(f"{key}={word_of(value)}" for key, value in there)

    @property
    def label(self) -> str:
        """The method, with what was swept."""
        return " ".join(word for word in (self.method, self.swept) if word)


@dataclass(frozen=True)
class Pack:
    """Cells that differ in their seed alone and run side by side; ``words``: the command line that plans them, without
    its seeds."""

    cells: tuple[Cell, ...]
    words: tuple[str, ...] = ()

    @property
    def first(self) -> Cell:
        return self.cells[0]

    @property
    def name(self) -> str:
        return key_of({**self.first.configuration, "seed": [cell.seed for cell in self.cells]})

    @property
    def kind(self) -> str:
        """What packs of the same configuration with other seeds share."""
        return key_of({**self.first.configuration, "seed": None})

    def of(self, cells: Iterable[Cell]) -> Pack:
        """The pack of these of its cells."""
        return Pack(tuple(cells), self.words)


@dataclass(frozen=True)
class Plan:
    """Everything that a launch will do, in order; of all methods, ``unfit`` tells why some are left out."""

    suite: str
    preset: str
    packs: tuple[Pack, ...]
    unfit: Mapping[str, str] = field(default_factory=dict)

    @property
    def cells(self) -> list[Cell]:
        return [cell for pack in self.packs for cell in pack.cells]

    @property
    def name(self) -> str:
        return hashlib.sha256("".join(sorted(cell.key for cell in self.cells)).encode()).hexdigest()[:12]


def task_of(cell: Cell) -> Task:
    """The task of a cell, as its suite has it."""
    return load_suite(cell.configuration["suite"]).tasks()[cell.task]


def identities(packs: Iterable[Pack]) -> list[dict[str, Any]]:
    """The distinct datasets of packs, in order of first use."""
    return list({canonical(each): each for each in (pack.first.configuration["data"] for pack in packs)}.values())


def rule_settings(asked: str, overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings of the value rule asked for, as ``value.<name>``: its data file, then the command line; and sources."""
    if asked == OWN:
        return {}, {}
    types = fields_of(RULES[asked])
    values = dict(rule_values(asked))
    source = f"methods/_values.toml ({values.pop('source', '')})"
    provenance = dict.fromkeys(values, source) | dict.fromkeys(overrides, COMMAND_LINE)
    for key, value in overrides.items():
        if key not in types:
            raise SettingsError(f"value rule {asked!r} has no setting {key!r}{nearest(key, types)}")
        values[key] = number(value, types[key], COMMAND_LINE, key)
    if missing := sorted(set(types) - set(values)):
        raise SettingsError(f"{missing[0]!r} of value rule {asked!r} has no value; give one in methods/_values.toml")
    return (
        {f"value.{name}": value for name, value in values.items()},
        {f"settings.value.{name}": text for name, text in provenance.items()},
    )


def value_rule(configuration: Mapping[str, Any], method: Method) -> ValueRule:
    """The rule that a cell's critic learns by: the one asked for, else the method's own, else the suite's."""
    asked = configuration["value"]
    if asked == OWN:
        if method.value is not None:
            return method.value
        asked = configuration["settings"]["value_used"]
    prefixed = configuration["settings"].items()
    own = {name.removeprefix("value."): value for name, value in prefixed if name.startswith("value.")}
    return RULES[asked](**own)


def build_method(cls: type[Method], configuration: Mapping[str, Any]) -> Method:
    """The method with a cell's hyperparameters. Raises SettingsError where it does not take them."""
    name = cls.__module__.rpartition(".")[2]
    try:
        return methods.made(name, cls, {**before(cls), **configuration["hyperparameters"]})
    except methods.UnavailableMethod as error:
        raise SettingsError(str(error)) from error


def as_settings(values: Mapping[str, Any]) -> Settings:
    """Settings of a configuration read back from JSON; what was added since is as it was before."""
    types, values = fields_of(Settings), {**before(Settings), **values}
    return Settings(
        **{name: checked(values[name], kind, "config.json [settings]", name) for name, kind in types.items()}
    )


def data_size(request: Request) -> dict[str, Any]:
    """The preset's [data] table with what was asked for."""
    table = preset_table(request.suite, request.preset).data.model_dump() | request.given("data")
    return table if request.data == PRESET else table | {"source": request.data}


def make(request: Request, folder: Path | None = None) -> Plan:
    """The plan of a request. Raises SettingsError (or the suite's SuiteError) with one sentence.

    ``folder`` is where data are looked for if the request leaves the choice of them to what is there (``auto``).
    """
    suite = load_suite(request.suite)
    value_settings, value_sources = rule_settings(request.value, request.given("value"))
    size = data_size(request)
    source = size.pop("source")

    packs: list[Pack] = []
    unfit: dict[str, str] = {}
    points = [(name, cls, point) for name, cls in request.methods.items() for point in request.points(name)]
    for name, cls, point in points:
        asked = request.layers(name, point)
        for task in request.tasks:
            try:
                resolved = resolve(cls, name, task, request.suite, request.preset, asked)
            except Unfit as error:
                if not request.every:
                    raise
                unfit[name] = str(error)
                continue
            taken = suite.choose(task, folder or Path()) if source == "auto" else source
            identity = suite.identity(task, taken, size)
            resolved.settings |= value_settings
            resolved.provenance |= value_sources | sources(request, cls, identity)
            common = _common(request, name, task) | {"data": identity}
            words = request.words(name, task.name, point, taken)
            packs.append(_pack(cls, common, resolved, task.value, request.seeds, words))
    if not packs:
        raise SettingsError(f"no method can be used; for one, {next(iter(unfit.values()))}")
    check_used(request.given("data"), identities(packs))
    return Plan(request.suite, request.preset, tuple(packs), unfit)


def sources(request: Request, cls: type[Method], identity: Mapping[str, Any]) -> dict[str, str]:
    """Where the data's values and the value rule came from."""
    preset, words = preset_table(request.suite, request.preset).data.model_dump(), request.given("data")
    by_preset, by_suite = f"preset {request.preset} [{request.suite}]", f"suite {request.suite}"
    found = {f"data.{name}": by_preset if name in preset else by_suite for name in identity}
    found |= {f"data.{name}": COMMAND_LINE for name in identity if name in words}
    if request.data != PRESET:
        found["data.source"] = COMMAND_LINE
    found["settings.value_used"] = f"{cls.__module__.replace('.', '/')}.py" if request.value == OWN else COMMAND_LINE
    return found


def check_used(words: Mapping[str, Any], identities: Sequence[Mapping[str, Any]]) -> None:
    """Raise where a word about data is about none of them."""
    for name in words:
        if not any(name in identity for identity in identities):
            raise SettingsError(
                f"--set data.{name} is about other data than {identities[0]['name']} ({identities[0]['source']}); "
                "leave it out, or say --data generated"
            )


def _common(request: Request, method: str, task: Task) -> dict[str, Any]:
    """What the cells of a pack say of themselves beside their settings, data and seed."""
    return {
        "protocol": PROTOCOL,
        "suite": request.suite,
        "task": task.name,
        "domain": task.domain,
        "method": method,
        "preset": request.preset,
        "backbone": request.backbone,
        "value": request.value,
    }


def _pack(
    cls: type[Method],
    common: dict[str, Any],
    resolved: Resolved,
    usual: str,
    seeds: Sequence[int],
    words: tuple[str, ...],
) -> Pack:
    """``usual`` is the suite's value rule."""
    values = {"settings": told(Settings, resolved.settings), "hyperparameters": told(cls, resolved.hyperparameters)}
    plain = json.loads(json.dumps(values))
    plain["settings"]["value_used"] = usual
    method = build_method(cls, plain)
    if common["value"] == OWN and method.value is None:
        own, provenance = rule_settings(usual, {})
        plain["settings"] |= own
        resolved.provenance.update(provenance | {"settings.value_used": f"suite {common['suite']}"})
    rule = value_rule({**common, **plain}, method)
    plain["settings"]["value_used"] = type(rule).__name__.lower()
    return Pack(tuple(Cell({**common, **plain, "seed": seed}, resolved.provenance) for seed in seeds), words)
