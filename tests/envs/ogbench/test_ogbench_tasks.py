"""The suite's facts and the identity of its data; none of it may need a simulator."""

from __future__ import annotations

import subprocess
import sys

import pytest

from envs import load_suite, suites
from envs._suite import SuiteError
from envs.ogbench import identity, load, pool, provenance, tasks, versions
from envs.ogbench._tasks import domain_of_data, domains

# domain: d, A, H, discount, pessimism, sparse, horizon, official data
TABLE = {
    "antmaze-large-navigate": (29, 8, 1, 0.99, 0.5, False, 1000, "antmaze-large-navigate-v0"),
    "antmaze-giant-navigate": (29, 8, 1, 0.995, 0.5, False, 1000, "antmaze-giant-navigate-v0"),
    "humanoidmaze-medium-navigate": (69, 21, 1, 0.995, 0.0, False, 2000, "humanoidmaze-medium-navigate-v0"),
    "humanoidmaze-large-navigate": (69, 21, 1, 0.995, 0.0, False, 2000, "humanoidmaze-large-navigate-v0"),
    "cube-double-play": (37, 5, 5, 0.99, 0.5, False, 500, "cube-double-play-v0"),
    "cube-triple-play": (46, 5, 5, 0.99, 0.5, False, 1000, "cube-triple-play-v0"),
    "cube-quadruple-play": (55, 5, 5, 0.99, 0.5, False, 1000, "cube-quadruple-play-100m-v0"),
    "scene-play-sparse": (40, 5, 5, 0.99, 0.5, True, 750, "scene-play-v0"),
    "puzzle-3x3-play-sparse": (55, 5, 5, 0.99, 0.5, True, 500, "puzzle-3x3-play-v0"),
    "puzzle-4x4-play-sparse": (83, 5, 5, 0.99, 0.5, True, 500, "puzzle-4x4-play-100m-v0"),
}
SCENE = "scene-play-singletask-task3-v0"
QUADRUPLE = "cube-quadruple-play-singletask-task2-v0"
MAZE = "humanoidmaze-large-navigate-singletask-task5-v0"
ANTS = "antmaze-large-navigate-singletask-task1-v0"
SHARDED = "cube-quadruple-play-singletask-task1-v0"


def test_ten_domains_of_five_tasks_in_the_order_of_the_table():
    assert list(domains()) == list(TABLE)
    assert [task.domain for task in tasks().values()] == [domain for domain in TABLE for _ in range(5)]
    assert list(tasks())[35:37] == ["scene-play-singletask-task1-v0", "scene-play-singletask-task2-v0"]
    assert all(name == task.name for name, task in tasks().items())


@pytest.mark.parametrize("name", TABLE)
def test_facts_of_a_domain(name: str):
    for task in domains()[name].tasks:
        facts = (task.action_size, task.chunk_length, task.discount, task.pessimism, task.sparse, task.horizon)
        assert (*task.observation[0].shape, *facts, domains()[name].official) == TABLE[name]
        assert task.success_timing == "pre"


def test_this_package_is_the_suite_named_ogbench():
    assert "ogbench" in suites()
    assert load_suite("ogbench").tasks() is tasks()


def test_planning_imports_no_simulator():
    program = (
        "import sys, envs.ogbench as suite\n"
        "for task in suite.tasks().values(): suite.identity(task, 'official', {})\n"
        "suite.versions(task)\n"
        "print({'mujoco', 'ogbench', 'dm_control', 'gymnasium', 'jax'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "set()\n"
    )


def test_versions_are_those_of_the_installed_packages():
    import mujoco

    found = versions(tasks()[SCENE])
    assert set(found) == {"mujoco", "ogbench", "dm_control", "gymnasium"}
    assert found["mujoco"] == mujoco.__version__


def test_identities():
    assert identity(tasks()[SCENE], "official", {}) == {"source": "official", "name": "scene-play-v0"}
    sharded = {"source": "official", "name": "cube-quadruple-play-100m-v0"}
    assert identity(tasks()[SHARDED], "official", {}) == {**sharded, "shards": 100}
    assert identity(tasks()[SHARDED], "official", {"shards": 10}) == {**sharded, "shards": 10}
    generated = identity(tasks()[SCENE], "generated", {"procedure": "noisy", "seed": 3, "episodes": 60})
    assert generated == {
        "source": "generated",
        "name": "scene-noisy-v0",
        "procedure": "noisy",
        "version": 2,
        "seed": 3,
        "episodes": 60,
    }
    defaults = identity(tasks()[SHARDED], "generated", {})
    assert (defaults["procedure"], defaults["seed"], defaults["episodes"]) == ("play", 0, 1000)


def test_a_preset_names_a_procedure_for_each_kind_of_domain():
    """So that its word for manipulation keeps nobody from a maze."""
    for size in ({"procedure": ["noisy", "navigate"]}, {"procedure": ("noisy", "navigate")}):
        assert identity(tasks()[SCENE], "generated", size)["procedure"] == "noisy"
        assert identity(tasks()[ANTS], "generated", size)["procedure"] == "navigate"
    assert identity(tasks()[SCENE], "generated", {"procedure": ["noisy"]}) == identity(
        tasks()[SCENE], "generated", {"procedure": "noisy"}
    )


def test_an_identity_leads_back_to_its_domain():
    for domain in domains().values():
        task = domain.tasks[0]
        assert domain_of_data(identity(task, "official", {})) is domain
        for procedure in domain.generation.procedures if domain.generation else ():
            assert domain_of_data(identity(task, "generated", {"procedure": procedure})) is domain


@pytest.mark.parametrize(
    ("name", "source", "size", "sentence"),
    [
        (
            MAZE,
            "generated",
            {},
            r"cannot be generated: fetch .*download humanoidmaze-large, or .* --data official --data-dir DIR\.$",
        ),
        (SCENE, "generated", {"procedure": "navigate"}, "by 'navigate': choose play or noisy"),
        (SCENE, "generated", {"procedure": ["walk", "navigate"]}, "by 'walk' or 'navigate': choose play or noisy"),
        (SCENE, "generated", {"procedure": ["noisy", "nosiy"]}, "by 'noisy' or 'nosiy': choose play or noisy"),
        (SCENE, "generated", {"procedure": []}, "by no procedure: choose play or noisy"),
        (SCENE, "generated", {"procedure": 3}, "by 3: choose play or noisy"),
        (SCENE, "generated", {"episode": 5}, "unknown setting 'episode' .* did you mean episodes"),
        (SCENE, "generated", {"episodes": 0}, "episodes .* is 0: give an integer from 1"),
        (SCENE, "generated", {"seed": True}, "seed .* is True"),
        (SCENE, "downloaded", {}, "no 'downloaded' data: choose official or generated"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_mend(name: str, source: str, size: dict[str, object], sentence: str):
    with pytest.raises(SuiteError, match=sentence):
        identity(tasks()[name], source, size)


def test_data_of_another_task_are_refused(tmp_path):
    with pytest.raises(SuiteError, match="holds no data of"):
        load(tasks()[MAZE], identity(tasks()[SCENE], "official", {}), tmp_path)


def test_an_empty_pool_is_refused():
    with pytest.raises(SuiteError, match="at least one slot"):
        pool(tasks()[MAZE], 0, 0)


@pytest.mark.parametrize(
    ("task", "source", "size", "wanted"),
    [
        (SCENE, "official", {}, "official"),
        (SCENE, "generated", {}, "generated:play/v1/seed0"),
        (SCENE, "generated", {"procedure": "noisy", "episodes": 66, "seed": 3}, "generated:noisy/v2/seed3/66 episodes"),
        (QUADRUPLE, "official", {}, "official"),
        (QUADRUPLE, "official", {"shards": 10}, "official/10 shards"),
        (QUADRUPLE, "generated", {"shards": 10, "episodes": 10_000}, "generated:play/v1/seed0/10 shards"),
        (QUADRUPLE, "generated", {"shards": 2, "episodes": 4}, "generated:play/v1/seed0/2 shards/4 episodes"),
    ],
)
def test_provenance_tells_apart_what_may_not_share_a_table(task: str, source: str, size: dict, wanted: str):
    assert provenance(identity(tasks()[task], source, size)) == wanted
