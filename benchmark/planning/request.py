"""What a user asked for, as values: methods and tasks that there are, seeds, settings and sweeps with their origin.

`ask` takes the words of a command line, once; `plan` receives values, and never text.
"""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import methods as all_methods
from benchmark.planning.data_files import available, fields_of, method_file, number, preset_table, usable
from benchmark.planning.errors import SettingsError, check_word, in_short, nearest
from benchmark.planning.run_settings import Settings
from benchmark.planning.settings import BACKBONES_ASKED, Layer
from benchmark.planning.words import COMMAND_LINE, OWNERS, Assignment, Sweep, assignment_of, seeds_of, sweep_of
from envs import load_suite, suites
from envs._suite import Suite, Task
from methods._contract import Method
from methods._values import RULES

OWN = "own"
"""The value rule asked for when every method keeps its own."""
PRESET = "preset"
"""The data asked for when it is the preset's."""
REFERENCE = "reference"
"""The backbone that is not said."""
DATA = ("official", "generated", "auto", PRESET)
VALUES = (OWN, *RULES)


@dataclass(frozen=True)
class Request:
    """What a plan is made of; what was not said is the preset's choice, and stands in it as any other. Where ``every``
    method is asked for, those that can't be used on a task are left out there."""

    suite: str
    preset: str
    methods: Mapping[str, type[Method]]
    tasks: tuple[Task, ...]
    seeds: tuple[int, ...]
    settings: tuple[Assignment, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    value: str = OWN
    backbone: str = REFERENCE
    data: str = PRESET
    every: bool = False

    def given(self, owner: str) -> dict[str, Any]:
        """What was set of an owner."""
        return {each.key: each.value for each in self.settings if each.owner == owner}

    def reaches(self, word: Assignment | Sweep, method: str) -> bool:
        """Whether a word has a say in a method: what is of all methods yields to what makes this one what it is, and
        to what is said of this one by its name."""
        if word.owner != "run":
            return word.owner == method
        own = [each.key for each in (*self.settings, *self.sweeps) if each.owner == method]
        return word.key not in own and word.key not in method_file(method).run

    def points(self, method: str) -> list[tuple[Assignment, ...]]:
        """Every combination of the swept values that concern a method; one empty one where none does."""
        return list(itertools.product(*(each.points for each in self.sweeps if self.reaches(each, method))))

    def layers(self, method: str, point: Sequence[Assignment]) -> list[Layer]:
        """What was asked of a method at a point of the sweeps; no two are about the same key."""
        words = [each for each in (*self.settings, *point) if self.reaches(each, method)]
        return [(each.origin, {each.key: each.value}) for each in words]

    def words(self, method: str, task: str, point: Sequence[Assignment], data: str) -> tuple[str, ...]:
        """The command line, without its seeds, that plans this method on this task alone, at a point of the sweeps."""
        every = (*self.settings, *point)
        chosen = [str(each) for each in every if each.owner in ("value", "data") or self.reaches(each, method)]
        words = ["--suite", self.suite, "--preset", self.preset, "--methods", method, "--tasks", task]
        for name, value, usual in (("value", self.value, OWN), ("backbone", self.backbone, REFERENCE)):
            words += [f"--{name}", value] if value != usual else []
        words += ["--data", data] if self.data != PRESET else []
        return (*words, *(["--set", *chosen] if chosen else []))


def ask(
    suite: str,
    preset: str,
    methods: str = "all",
    tasks: Sequence[str] = (),
    domains: Sequence[str] = (),
    seeds: str = "",
    settings: Sequence[str] = (),
    sweeps: Sequence[str] = (),
    value: str = OWN,
    backbone: str = REFERENCE,
    data: str = PRESET,
) -> Request:
    """The request of these words. Raises SettingsError with one sentence; nothing that it lets through is asked for
    in vain."""
    check_suite(suite)
    table = preset_table(suite, preset)
    check_word("value rule", value, VALUES)
    check_word("backbone", backbone, BACKBONES_ASKED)
    check_word("data", data, DATA)
    request = Request(
        suite=suite,
        preset=preset,
        methods=select_methods(methods),
        tasks=tuple(select_tasks(suite, tasks, domains, table.tasks)),
        seeds=seeds_of(seeds) if seeds else tuple(range(table.seeds)),
        settings=tuple(map(assignment_of, settings)),
        sweeps=tuple(map(sweep_of, sweeps)),
        value=value,
        backbone=backbone,
        data=data,
        every=methods == "all",
    )
    check_owners(request)
    check_words(request)
    return request


def check_owners(request: Request) -> None:
    """Raise where something was set of nobody that is in the request."""
    for each in request.settings:
        check_owner(f"--set '{each}'", each.owner, [*OWNERS, *request.methods])
    for each in request.sweeps:
        if each.owner in ("data", "value"):
            raise SettingsError(
                f"--sweep '{each}': what is swept belongs to methods or the run, so that all stand in one table; "
                f"launch once for each value, with --set {each.owner}.{each.key}=VALUE"
            )
        check_owner(f"--sweep '{each}'", each.owner, ["run", *request.methods])
    if request.value == OWN and request.given("value"):
        raise SettingsError("--set value.* needs --value; without it each method keeps its own rule")
    if "source" in request.given("data"):
        raise SettingsError("--set data.source is said with --data: official, generated or auto")
    for each in request.settings:
        if each.owner == "run" and (kind := fields_of(Settings).get(each.key)) is not None:
            number(each.value, kind, COMMAND_LINE, each.key)


def check_words(request: Request) -> None:
    """Raise where one word undoes another, or does nothing."""
    said: list[tuple[str, Assignment | Sweep]] = [(f"--set '{each}'", each) for each in request.settings]
    said += [(f"--sweep '{each}'", each) for each in request.sweeps]
    first: dict[tuple[str, str], str] = {}
    for text, each in said:
        if earlier := first.get((each.owner, each.key)):
            raise SettingsError(f"{earlier} and {text} are about the same thing; leave one of them out")
        first[each.owner, each.key] = text
    for text, each in said:
        if each.owner == "run" and not any(request.reaches(each, name) for name in request.methods):
            name = next(iter(request.methods))
            if each.key in method_file(name).run:
                how = f"{name} fixes {each.key} itself; write {text.split()[0]} {name}.{each.key}=VALUE"
                raise SettingsError(f"{text}: {how}")
            raise SettingsError(f"{text} does nothing beside {first[name, each.key]}; leave one of them out")


def check_suite(name: str) -> None:
    check_word("suite", name, suites())


def select_methods(text: str) -> dict[str, type[Method]]:
    """'all' or a comma-separated list, as classes by name."""
    if text == "all":
        found, reasons = available()
        if not found:
            raise SettingsError(f"no method can be used; for one, {next(iter(reasons.values()))}")
        return found
    chosen: dict[str, type[Method]] = {}
    wanted = [name for name in map(str.strip, text.split(",")) if name]
    if "all" in wanted or not wanted:
        what = "all is every method, and stands alone" if wanted else "it names nothing"
        raise SettingsError(f"--methods {text}: {what}; name some, or say all")
    for name in wanted:
        if name in chosen:
            raise SettingsError(f"--methods {text} names {name} twice; leave one of them out")
        if name not in all_methods.names():
            hint = nearest(name, all_methods.names())
            raise SettingsError(f"unknown method {name!r}; see --help for the list{hint}")
        try:
            chosen[name] = usable(name)
        except all_methods.UnavailableMethod as error:
            raise SettingsError(f"method {name!r} is unavailable: {error}") from error
    return chosen


def select_tasks(name: str, patterns: Sequence[str], domains: Sequence[str], usual: Sequence[str]) -> list[Task]:
    """The tasks that patterns and domains leave, in the suite's order; the ``usual`` ones where neither is given."""
    suite = load_suite(name)
    known = suite.tasks()
    check_twice("--tasks", patterns, patterns)
    within = [domain_called(name, suite, word) for word in domains]
    check_twice("--domains", within, domains)
    globs = tuple(patterns) or (("*",) if domains else tuple(usual))
    for pattern in globs:
        if not fnmatch.filter(known, pattern):
            there = ", ".join(in_short(known))
            raise SettingsError(
                f"no task of suite {name!r} matches {pattern!r}; it has {there}{nearest(pattern, known)}"
            )
    chosen = {task for pattern in globs for task in fnmatch.filter(known, pattern)}
    tasks = [task for task in known.values() if task.name in chosen and (not within or task.domain in within)]
    if not tasks:
        raise SettingsError("no task is in both --tasks and --domains; widen one of them")
    return tasks


def check_twice(what: str, meant: Sequence[str], words: Sequence[str]) -> None:
    """Raise where two of these words mean the same."""
    for place, each in enumerate(meant):
        if each in meant[:place]:
            first, second = words[meant.index(each)], words[place]
            names = f"names {first} twice" if first == second else f"{first} and {second} are one domain"
            raise SettingsError(f"{what} {' '.join(words)}: {names}; leave one of them out")


def domain_called(name: str, suite: Suite, word: str) -> str:
    """The domain that a word of the suite's stands for."""
    known = suite.domain_words()
    if word not in known:
        there = ", ".join(dict.fromkeys(known.values()))
        raise SettingsError(f"unknown domain {word!r} of suite {name!r}; it has {there}{nearest(word, known)}")
    return known[word]


def check_owner(what: str, owner: str, known: Sequence[str]) -> None:
    if owner not in known:
        others = ", ".join(each for each in known if each in OWNERS)
        raise SettingsError(f"{what}: {owner!r} is no method of this plan, nor {others}{nearest(owner, known)}")
