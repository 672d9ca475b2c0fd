"""Plans that are written down and read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.arguments import parse, requested
from benchmark.planning.plan import Plan, make
from benchmark.planning.request import ask
from benchmark.runs.plan_file import PlanFileError, load, load_all, path_of, save


def plan(**changes: object) -> Plan:
    words = ("flow.learning_rate=1e-3", "run.batch_size=32", "fql.alpha=3")
    asked: dict[str, object] = {
        "methods": "flow,fql",
        "seeds": "0-2",
        "settings": words,
        "sweeps": ("fql.best_of_n=1,2",),
    }
    return make(ask("toy", "quick", **(asked | changes)))  # pyright: ignore[reportArgumentType]


def test_a_plan_is_read_back_as_it_was(tmp_path: Path) -> None:
    made = plan()
    save(tmp_path, made)
    found = load(path_of(tmp_path, made.name))
    assert (found.name, found.suite, found.preset) == (made.name, "toy", "quick")
    assert [cell.key for pack in found.packs for cell in pack.cells] == [cell.key for cell in made.cells]
    assert found.packs[0].first.provenance == made.packs[0].first.provenance


def test_the_words_of_a_pack_plan_that_pack_and_no_other() -> None:
    """Whatever was said on the command line that planned it: here a sweep, and settings of one method and of all."""
    requests = (
        {},
        {"value": "iql", "backbone": "paper", "settings": ("value.expectile=0.7",)},
        {"data": "auto", "settings": ("data.episodes=9",)},
        {"settings": ("run.heads=2", "fql.heads=3", "run.sampling=joint", "run.warm_up=uniform")},
    )
    for request in requests:
        for pack in plan(**request).packs:
            asked = parse([*pack.words, "--seeds", "0-2"])
            one = requested(asked, asked.preset)
            assert [cell.key for cell in make(one).cells] == [cell.key for cell in pack.cells]


def test_plans_are_listed_oldest_first_each_once(tmp_path: Path) -> None:
    first, second = plan(), plan(seeds="0")
    for each in (first, second, first):
        save(tmp_path, each)
    (tmp_path / "plans" / "torn.json").write_text("{")
    found, damaged = load_all(tmp_path)
    assert {stored.name for stored in found} == {first.name, second.name}
    assert [str(tmp_path / "plans" / "torn.json") in text for text in damaged] == [True]


PART = '{"suite": "toy", "preset": "quick", "data": "", "packs": '


@pytest.mark.parametrize("text", ["", "{", "{}", "\udcff", PART + "[1]}", PART + '[{"configuration": {}}]}'])
def test_a_damaged_plan_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(PlanFileError, match="delete it, or give its launch command again"):
        load(path)
