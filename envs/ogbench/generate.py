"""Makes data of the official kind: ``python -m envs.ogbench.generate cube-double --transitions 100k``.

Six domains by OGBench's own scripted policies, the two ant mazes by this project's controller. Schema, dtypes, episode
lengths and names are the official ones; the files stand in a folder of their own, named after what decides them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Ge

from envs._command_line import option, place
from envs._processors import cores
from envs._suite import SuiteError
from envs.ogbench import _generate
from envs.ogbench._commands import HOME, Meter, count_of, domain_named, told
from envs.ogbench._tasks import Domain, domains, identity
from envs.ogbench.inspect import report


@dataclass(frozen=True)
class Arguments:
    """Generate datasets; interrupt and repeat the command at will."""

    domains: tyro.conf.Positional[tuple[str, ...]] = ()
    """cube-double, antmaze-large, ...; or all that can be generated: all"""
    transitions: Annotated[str, option(usual="as many as the official file")] = ""
    """how many, at least: 2000, 100k, 1M, 1e6; rounded up to whole episodes, the same number in each shard"""
    kind: Annotated[str, option(usual="play, navigate")] = ""
    """play or noisy; for mazes navigate or reach"""
    shards: Annotated[int, Ge(0), option(usual="a single file")] = 0
    """files to spread them over, as in the official 100M folders"""
    seed: Annotated[int, Ge(0)] = 0
    """an episode is a function of this seed and its number"""
    data_dir: Path = HOME
    """folder under whose generated/ the data stand"""
    jobs: Annotated[int, Ge(1)] = cores()
    """processes; the files do not depend on it"""


def episodes(domain: Domain, transitions: str, shards: int) -> int:
    """Episodes that hold at least so many transitions, the same number in each shard."""
    each = max(1, shards)
    if not transitions:
        return domain.episodes * each
    wanted = -(-count_of(transitions) // (domain.rows - 1))
    return -(-wanted // each) * each


def run(arguments: Arguments) -> None:
    """Generate one domain after another. Raises SuiteError before anything is made if a word is wrong."""
    if "all" in arguments.domains and len(arguments.domains) > 1:
        raise SuiteError(f"{' '.join(arguments.domains)}: all is every domain, so say it alone, or leave it out.")
    chosen = [domain_named(word) for word in arguments.domains if word != "all"]
    if "all" in arguments.domains:
        chosen = [domain for domain in domains().values() if domain.generation]
    if not chosen:
        raise SuiteError("no domain was named: name some, or say all.")
    planned = []
    for domain in chosen:
        size: dict[str, object] = {"seed": arguments.seed}
        size["episodes"] = episodes(domain, arguments.transitions, arguments.shards)
        size |= {"procedure": arguments.kind} if arguments.kind else {}
        size |= {"shards": arguments.shards} if arguments.shards else {}
        planned.append((domain, identity(domain.tasks[0], "generated", size)))
    folder = place(arguments.data_dir)
    for domain, data in planned:
        home, files = _generate.folder_of(data, folder), _generate.volumes(data)
        kinds = {split: sum(file.count for file in files if file.split == split) for split in ("train", "val")}
        counts = f"{kinds['train']} episodes for training and {kinds['val']} for validation, {domain.rows} rows each"
        print(f"{home}: {counts}", flush=True)
        _generate.generate(domain, data, folder, arguments.jobs, Meter("rows", domain.rows))
        if arguments.shards:
            print(f"of the first of {arguments.shards} shards (all are on the card, {_generate.CARD}):")
        print(
            report(domain, data["procedure"], _generate.read_card(home)["files"][files[0].file].get("statistics", {}))
        )


if __name__ == "__main__":
    sys.exit(told(Arguments, run))
