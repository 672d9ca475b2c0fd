"""Which packs share a job, which are made smaller first, and which nodes get none. Pure: files and clusters are read by
others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from benchmark.execution.local import halves
from benchmark.planning.plan import Pack
from benchmark.planning.portion import pieces
from slurm.cluster import Ended
from slurm.profile import Profile

NODE_STATES = ("NODE_FAIL", "BOOT_FAIL", "FAILED")
CELLS_FAILED = 3
"""Exit status of a job whose cells failed, by their own records, on a machine that did what it should."""


def jobs_of(packs: Sequence[Pack], profile: Profile, starved: Mapping[str, int]) -> list[list[Pack]]:
    """The packs of each job, in order. ``starved``: how often a cell's job was ended for lack of memory; such a pack is
    halved."""
    sized = pieces(packs, profile.seeds_per_pack)
    fitting = [part for pack in sized for part in (halves(pack) if _starved(pack, starved) else [pack])]
    count = profile.packs_per_job
    return [fitting[start : start + count] for start in range(0, len(fitting), count)]


def _starved(pack: Pack, starved: Mapping[str, int]) -> bool:
    return any(starved.get(cell.key) for cell in pack.cells)


def starved_jobs(attempts: Sequence[Mapping[str, Any]], no_memory: Collection[str]) -> int:
    """In how many jobs that were ended for lack of memory a run was, since it last failed."""
    jobs: set[str] = set()
    for line in attempts:
        if line.get("how") == "failed":
            jobs.clear()
        elif "start" in line and line.get("slurm_job") in no_memory:
            jobs.add(line["slurm_job"])
    return len(jobs)


def chunks(jobs: Sequence[list[Pack]], most: int) -> list[list[list[Pack]]]:
    """Jobs in arrays of at most ``most``."""
    return [list(jobs[start : start + most]) for start in range(0, len(jobs), most)]


def bad_nodes(history: Sequence[Ended], no_memory: Collection[str], allowed: int) -> list[str]:
    """Nodes that broke ``allowed`` jobs or more (0: none are counted).

    None where it is more than half of the nodes that were used: then it is not the nodes. A single one that was used
    may be bad, since one that breaks jobs at once draws all others to it.
    """

    def broken(ended: Ended) -> bool:
        by_cells = ended.exit == f"{CELLS_FAILED}:0" or ended.job in no_memory
        return ended.state in NODE_STATES and not by_cells

    used = {each.node for each in history if each.node and "None" not in each.node}
    broke = Counter(each.node for each in history if broken(each))
    bad = sorted(node for node in used if allowed and broke[node] >= allowed)
    return bad if len(used) == 1 or 2 * len(bad) <= len(used) else []
