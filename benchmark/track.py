"""Copies run folders into MLflow: ``python -m benchmark.track [--out results] [--follow]``.

For clusters whose nodes can't reach the tracker. Whatever was sent is noted beside each run, so that it can be stopped
and started at will; there is one at a time for a folder.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from benchmark.planning.errors import LaunchError
from benchmark.planning.plan import Configuration
from benchmark.planning.words import counted
from benchmark.runs.lease import Lease, LeaseHeld
from benchmark.tracking.address import TrackingError, default_uri
from benchmark.tracking.pusher import PUSH_SECONDS
from benchmark.tracking.store import prepare
from benchmark.tracking.tracker import Tracker
from envs._command_line import carried_out, option, parsed, place
from envs._documents import DocumentError, read


@dataclass(frozen=True)
class Arguments:
    """Send what the runs under a folder recorded, and MLflow does not have, to MLFLOW_TRACKING_URI or the folder's own
    database."""

    out: Annotated[Path, option("DIR", "results")] = Path("results")
    """folder of the runs"""
    follow: Annotated[bool, option(usual="no")] = False
    """go on, once a minute, until Ctrl-C"""


def folders_of(root: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Run folders by the experiment that they belong to, and a sentence for each that can't be read."""
    found: dict[str, list[Path]] = defaultdict(list)
    damaged: list[str] = []
    for path in [*sorted(root.glob("superseded/*/*/config.json")), *sorted(root.glob("runs/*/*/config.json"))]:
        try:
            config = read(path, Configuration)
            found[f"{config['suite']}/v{config['protocol']}"].append(path.parent)
        except (FileNotFoundError, DocumentError) as error:
            damaged.append(f"{error}; delete its folder, and the run is made again.")
    return found, damaged


def send(root: Path, uri: str) -> list[str]:
    """Send everything new; what could not be sent, one sentence each."""
    by_experiment, problems = folders_of(root)
    for experiment, folders in by_experiment.items():
        prepare(uri, experiment, root / "artifacts")
        found = Tracker(uri, experiment).push_all(folders)
        print(f"{experiment}: {counted(len(folders), 'run')}, {len(found)} could not be sent", flush=True)
        problems += found
    return problems


def run(words: list[str]) -> int:
    arguments = parsed(Arguments, "python -m benchmark.track", words)
    root = place(arguments.out)
    if not (root / "runs").is_dir():
        raise LaunchError(f"there are no runs under {root}; name their folder with --out")
    try:
        lease = Lease(root / "tracking.json")
    except LeaseHeld as error:
        raise LaunchError(f"runs under {root} are being sent already ({error})") from error
    try:
        while True:
            try:
                problems = send(root, default_uri(root))
            except TrackingError as error:
                if not arguments.follow:
                    raise
                problems = [str(error)]
            for problem in problems:
                print(f"tracking: {problem}", file=sys.stderr, flush=True)
            if not arguments.follow:
                return int(bool(problems))
            time.sleep(PUSH_SECONDS)
    finally:
        lease.release()


if __name__ == "__main__":
    sys.exit(carried_out(run, LaunchError, TrackingError))
