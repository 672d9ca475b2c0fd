"""What the data files of presets, methods and value rules may say, and what they say.

A file that says something else makes its preset or method unavailable, and no other.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np
from annotated_types import Ge, Gt, Le, MinLen
from pydantic import ConfigDict, Field

import methods
from benchmark.planning.errors import SettingsError, Unfit, nearest
from benchmark.planning.run_settings import Settings
from benchmark.planning.words import MOST_SEEDS, OWNERS
from envs import load_suite, suites
from envs._documents import STRICT, DocumentError, Schema, checked, read
from envs._suite import SUCCESS
from methods._contract import Method
from methods._values import RULES

RESERVED = (*OWNERS, "all", "own")
"""Words of commands that stand where a method's name may stand."""
SMALLEST, LARGEST = 1e-37, 3e38
"""Magnitudes that float32 holds at its full precision."""
PRESETS = Path(__file__).parent / "presets"
Values = dict[str, Any]
"""Of settings and hyperparameters, with an optional source; held against their fields."""
Price = Annotated[float, Gt(0), Le(1e6)]
"""Of an update or a step, in seconds or in updates of the base flow."""


class Cost(Schema):
    """What the base flow takes on the machine that a preset is for."""

    seconds_to_start: Annotated[float, Ge(0), Le(1e6)]
    seconds_per_update: Price
    seconds_per_environment_step: Price


class Data(Schema):
    """Which data; what else tells them from others is the suite's to know."""

    model_config = ConfigDict({**STRICT, "extra": "allow"})
    source: Literal["official", "generated", "auto"]


class Preset(Schema):
    """A preset's table of a suite; ``score`` is the measure that its leaderboard ranks by."""

    tasks: Annotated[tuple[Annotated[str, MinLen(1)], ...], MinLen(1)]
    seeds: Annotated[int, Ge(1), Le(MOST_SEEDS)]
    score: str = SUCCESS
    settings: Values = Field(default_factory=dict)
    data: Data
    cost: Cost


class MethodFile(Schema):
    """A method's data file; ``cost`` is in updates of the base flow, by preset."""

    default: Values = Field(default_factory=dict)
    domain: dict[str, Values] = Field(default_factory=dict)
    preset: dict[str, dict[str, Values]] = Field(default_factory=dict)
    run: Values = Field(default_factory=dict)
    cost: dict[str, Price] = Field(default_factory=dict)


@cache
def fields_of(declared: type) -> dict[str, Any]:
    """Fields of a dataclass and what each must be, with its range."""
    hints = get_type_hints(declared, include_extras=True)
    return {each.name: hints[each.name] for each in dataclasses.fields(declared)}


def typed(where: str, values: Mapping[str, Any], *declared: type) -> Values:
    """Values as the fields of these dataclasses, a source apart. Raises DocumentError."""
    types = {name: kind for each in declared for name, kind in fields_of(each).items()} | {"source": str}
    only(where, values, types)
    return {key: number(value, types[key], where, key) for key, value in values.items()}


def number(value: Any, kind: Any, where: str, key: str) -> Any:
    """A value as it must be, also once it is the float32 with which a run computes. Raises DocumentError."""
    found = checked(value, kind, where, key)
    size = abs(found) if type(found) is float else 1.0
    if size and not SMALLEST <= size <= LARGEST:
        raise SettingsError(
            f"{key} in {where} is {found!r}, which float32 does not hold; its numbers are of {SMALLEST} to {LARGEST}"
        )
    if type(found) is float:
        try:
            checked(float(np.float32(found)), kind, where, key)
        except DocumentError as error:
            raise SettingsError(f"{error} (as the float32 that {found!r} is)") from None
    return found


def only(where: str, table: Iterable[str], known: Iterable[str]) -> None:
    """Raise on a key or table that nobody would read."""
    for name in table:
        if name not in set(known):
            raise SettingsError(f"{name!r} in {where} is nothing that anybody reads{nearest(name, known)}")


def preset_names() -> list[str]:
    """Every preset, also those that can't be used."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


@cache
def _preset(folder: Path, name: str) -> dict[str, Preset]:
    file = f"presets/{name}.toml"
    found = read(folder / f"{name}.toml", dict[str, Preset], file)
    only(file, found, suites())
    for suite, table in found.items():
        checked(table.score, Literal[*load_suite(suite).scores()], f"{file} [{suite}]", "score")
    return {
        suite: table.model_copy(update={"settings": typed(f"{file} [{suite}.settings]", table.settings, Settings)})
        for suite, table in found.items()
    }


def presets(suite: str) -> list[str]:
    """Presets that serve a suite."""
    return [name for name in preset_names() if name not in broken_presets() and suite in _preset(PRESETS, name)]


def broken_presets() -> dict[str, str]:
    """For each preset that can't be used the reason."""
    reasons = {}
    for name in preset_names():
        try:
            _preset(PRESETS, name)
        except DocumentError as error:
            reasons[name] = str(error)
    return reasons


def preset_table(suite: str, preset: str) -> Preset:
    """What a preset says of a suite. Raises SettingsError."""
    return _preset_table(PRESETS, suite, preset)


@cache
def _preset_table(folder: Path, suite: str, preset: str) -> Preset:
    if preset in (broken := broken_presets()):
        raise SettingsError(f"preset {preset!r} is unavailable: {broken[preset]}")
    known = presets(suite)
    if preset not in known:
        raise SettingsError(
            f"suite {suite!r} has no preset {preset!r}; it has {', '.join(known)}{nearest(preset, known)}"
        )
    return _preset(folder, preset)[suite]


@cache
def every_domain() -> frozenset[str] | None:
    """Domains of all suites; none where a suite can't say its own, which is no fault of a method that knows them."""
    try:
        return frozenset(task.domain for suite in suites() for task in load_suite(suite).tasks().values())
    except DocumentError:
        return None


def method_file(name: str) -> MethodFile:
    """A method's data file, whose tables are all of things that there are, and whose values are all of its fields."""
    return _method_file(methods.FOLDER, name, methods.load(name))


@cache
def _method_file(folder: Path, name: str, cls: type[Method]) -> MethodFile:
    file = f"methods/{name}.toml"
    found = read(folder / f"{name}.toml", MethodFile, file)
    only(f"{file} [domain]", found.domain, every_domain() or found.domain)
    only(f"{file} [preset]", found.preset, preset_names())
    only(f"{file} [cost]", found.cost, preset_names())

    def of(table: str, values: Values) -> Values:
        return typed(f"{file} [{table}]", values, Settings, cls)

    by_preset = {}
    for preset, tables in found.preset.items():
        only(f"{file} [preset.{preset}]", tables, suites())
        by_preset[preset] = {suite: of(f"preset.{preset}.{suite}", values) for suite, values in tables.items()}
    return MethodFile(
        default=of("default", found.default),
        domain={domain: of(f"domain.{domain}", values) for domain, values in found.domain.items()},
        preset=by_preset,
        run=of("run", found.run),
        cost=found.cost,
    )


def check_complete(name: str, cls: type[Method], given: Iterable[str]) -> None:
    """Raise where a hyperparameter has no value among those that are ``given``."""
    if without := missing(cls, given):
        raise Unfit(f"{without[0]!r} of {name} has no value; give one in methods/{name}.toml [default]")


def missing(cls: type[Method], given: Iterable[str]) -> list[str]:
    """Hyperparameters that are not given, and need to be."""
    return sorted(set(fields_of(cls)).difference(given, ("best_of_n",)))


@cache
def check_class(name: str, cls: type[Method]) -> None:
    """Raise on a method that no run could be built of, whatever its values."""
    if name in RESERVED:
        raise SettingsError(f"methods/{name}.py has a name that means something else in commands; call it otherwise")
    words = {each for each, declared in get_type_hints(Method).items() if get_origin(declared) is ClassVar}
    if common := sorted(set(fields_of(cls)) & {*fields_of(Settings), *words, "source"}):
        raise SettingsError(
            f"methods/{name}.py has the field {common[0]!r}, which means something else for every method; call it "
            "otherwise"
        )
    for word, declared in get_type_hints(Method, include_extras=True).items():
        if get_origin(declared) is ClassVar and word != "known_failures":  # whose reader is a test
            number(getattr(cls, word), get_args(declared)[0], f"methods/{name}.py", word)


def check_values(name: str, cls: type[Method], found: MethodFile) -> None:
    """Raise UnavailableMethod where the method does not take the values that its file has for it somewhere."""
    own = fields_of(cls)
    presets = [{}, *(values for preset in found.preset.values() for values in preset.values())]
    for domain, preset in itertools.product([{}, *found.domain.values()], presets):
        values = {key: value for key, value in (found.default | domain | preset | found.run).items() if key in own}
        if not missing(cls, values):
            methods.made(name, cls, values)


def usable(name: str) -> type[Method]:
    """A method that a run can be made of, once all its hyperparameters have values. Raises UnavailableMethod with the
    reason."""
    cls = methods.load(name)
    try:
        check_class(name, cls)
        check_values(name, cls, method_file(name))
    except DocumentError as error:
        raise methods.UnavailableMethod(str(error)) from error
    return cls


def available() -> tuple[dict[str, type[Method]], dict[str, str]]:
    """Methods by name that can be used, and for each other one the reason."""
    found: dict[str, type[Method]] = {}
    reasons: dict[str, str] = {}
    for name in methods.names():
        try:
            cls, table = usable(name), method_file(name)
            of_presets = (values for each in table.preset.values() for values in each.values())
            somewhere = (table.default, table.run, *table.domain.values(), *of_presets)
            check_complete(name, cls, {key for values in somewhere for key in values})
            found[name] = cls
        except (methods.UnavailableMethod, SettingsError) as error:
            reasons[name] = str(error)
    return found, reasons


@cache
def rule_values(rule: str) -> Values:
    """The settings of a value rule, with their source."""
    file = "methods/_values.toml"
    found = read(methods.FOLDER / "_values.toml", dict[str, Values], file)
    only(file, found, RULES)
    return typed(f"{file} [{rule}]", found.get(rule, {}), RULES[rule])
