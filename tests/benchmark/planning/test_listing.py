"""What can be asked for, with where each value comes from; against the data files themselves."""

from __future__ import annotations

import tomllib

import pytest

import methods
from benchmark.planning.data_files import PRESETS
from benchmark.planning.listing import listing
from benchmark.planning.request import ask
from envs import load_suite, suites


def lines(suite: str, preset: str, *named: str) -> list[str]:
    return listing(ask(suite, preset, ",".join(named) or "all"), named)


@pytest.mark.parametrize(("suite", "preset"), [("toy", "quick"), ("ogbench", "quick"), ("ogbench", "paper")])
def test_every_task_and_domain_is_there_and_those_planned_are_marked(suite: str, preset: str) -> None:
    found = lines(suite, preset)
    marked = [line.removeprefix("  * ") for line in found if line.startswith("  * ")]
    planned = {task.name for task in ask(suite, preset, tasks=marked).tasks}
    assert planned == {task.name for task in ask(suite, preset).tasks}
    others = found[found.index("tasks (--tasks); * those that are planned:") + 1 : found.index("")]
    assert others == []
    start = found.index("tasks (--tasks); * those that are planned:") + 1
    shown = [line[4:] for line in found[start : found.index("", start)]]
    assert {task.name for task in ask(suite, preset, tasks=shown).tasks} == set(load_suite(suite).tasks())
    domains = next(line for line in found if line.startswith("domains"))
    assert all(word in domains for word in load_suite(suite).domain_words())


def test_settings_have_their_value_and_its_source() -> None:
    preset = tomllib.loads((PRESETS / "quick.toml").read_text())["toy"]
    found = {line.split(" = ")[0].strip(): line for line in lines("toy", "quick") if " = " in line}
    for key, value in preset["settings"].items():
        assert found[key].split(" = ")[1].split()[0] == str(value).replace(" ", "")
        assert found[key].endswith("preset quick [toy]")
    assert found["warm_up"].split() == ["warm_up", "=", "policy", "program"]
    assert found["horizon"].split() == ["horizon", "=", "16", "suite", "toy"]


def test_what_differs_by_domain_is_told_by_domain() -> None:
    found = [line for line in lines("ogbench", "paper") if line.split()[:1] == ["discount"]]
    facts = {task.domain: task.discount for task in load_suite("ogbench").tasks().values()}
    told = {domain: float(line.split()[2]) for line in found for domain in line.split(": ")[1].split(", ")}
    assert told == facts


@pytest.mark.parametrize("name", methods.names())
def test_a_methods_own_values_are_those_of_its_file(name: str) -> None:
    table = tomllib.loads((methods.FOLDER / f"{name}.toml").read_text())
    found = lines("ogbench", "paper", name)
    own = found[found.index(f"{name} (--set {name}.KEY=VALUE):") + 1 :]
    tuned = {
        (domain, key): value for domain, values in table.get("domain", {}).items() for key, value in values.items()
    }
    for (domain, key), value in tuned.items():
        if key == "source":
            continue
        rows = [line for line in own if line.split()[0] == key]
        several = len({line.split(" = ")[1].split()[0] for line in rows}) > 1
        (row,) = [line for line in rows if domain in line.split(": ")[-1].split(", ")] if several else rows[:1]
        said = row.split(" = ")[1].split()[0]
        assert (said == str(value).lower()) if isinstance(value, bool) else (float(said) == value)
        assert f"methods/{name}.toml [domain]" in row


def test_every_suite_can_be_listed() -> None:
    assert all(lines(suite, "quick") for suite in suites())
