"""``python -m benchmark``: which commands there are."""

from __future__ import annotations

import sys

from benchmark.execution.machine import version_lines
from envs._command_line import CommandLineError, carried_out

COMMANDS = """\
python -m benchmark.launch    plan runs and carry them out, here or on a cluster; then the leaderboard
python -m benchmark.status    what became of the runs that were launched
python -m benchmark.track     copy what runs recorded into MLflow
python -m benchmark.methods   every method: what it trains, its tuned values, its reference, its cost
python -m benchmark.speed     how fast the program itself is

python -m analysis.leaderboard     the tables, from MLflow alone
python -m slurm.doctor             whether a cluster is ready

Each has --help; with --version this one prints what runs record of the code and its packages."""


def run(words: list[str]) -> int:
    if words not in ([], ["--help"], ["--version"]):
        raise CommandLineError(
            f"there is no {' '.join(words)!r} here; python -m benchmark says which commands there are"
        )
    print("\n".join(version_lines()) if words == ["--version"] else COMMANDS)
    return 0


if __name__ == "__main__":
    sys.exit(carried_out(run))
