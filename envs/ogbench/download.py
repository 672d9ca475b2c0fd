"""Fetches OGBench's official files: ``python -m envs.ogbench.download cube-double puzzle-4x4``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Ge

from envs._command_line import place
from envs._suite import Identity, SuiteError
from envs.ogbench import _download, _files
from envs.ogbench._commands import HOME, Meter, domain_named, told
from envs.ogbench._tasks import Domain, identity


@dataclass(frozen=True)
class Arguments:
    """Download and check official datasets; interrupt and repeat the command at will."""

    domains: tyro.conf.Positional[tuple[str, ...]] = ()
    """cube-double, humanoidmaze-large, ..."""
    data_dir: Path = HOME
    """folder for the files"""
    mirror: str = ""
    """address of a copy of OGBench's dataset folder"""
    shards: Annotated[int, Ge(0)] = 0
    """of a 100M folder, the first so many files (default: all)"""


def run(arguments: Arguments) -> None:
    """Fetch what is missing and check every byte once. Without a network, the error names the files and the folder."""
    chosen = [domain_named(word) for word in arguments.domains]
    if not chosen:
        raise SuiteError("no domain was named: name some, like cube-double humanoidmaze-large.")
    single = next((domain for domain in chosen if arguments.shards and not domain.shards), None)
    if single:
        raise SuiteError(f"--shards is for 100M folders, and {single.official} is a single file: leave it out.")
    size = {"shards": arguments.shards} if arguments.shards else {}
    datasets = [(domain, identity(domain.tasks[0], "official", size)) for domain in chosen]
    folder = place(arguments.data_dir)
    for domain, data in datasets:
        try:
            _download.download(domain, data, folder, arguments.mirror, _Meters())
        except SuiteError as error:
            names = [name for each in datasets for name in wanted(*each)]
            raise SuiteError(f"{error} Wanted in {folder}: {', '.join(names)}.") from error
        print(f"{data['name']}: {len(_files.official_files(domain, data, folder))} files, whole")


class _Meters:
    """Bytes of a download, files of a check."""

    def __init__(self) -> None:
        self._bytes, self._files = Meter("bytes"), Meter("files")

    def __call__(self, what: str, done: int, total: int) -> None:
        (self._bytes if what.startswith("downloading") else self._files)(what, done, total)


def wanted(domain: Domain, data: Identity) -> list[str]:
    """Names of the files that a dataset consists of, the first and last of many."""
    names = _files.official_names(domain, data)
    return names if len(names) < 3 else [names[0], "...", names[-1]]


if __name__ == "__main__":
    sys.exit(told(Arguments, run))
