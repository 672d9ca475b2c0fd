"""Fetching OGBench's official files: resumable, checked before they get their name, safe beside other processes."""

from __future__ import annotations

import errno
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from envs._addresses import blotted, shown
from envs._suite import Identity, Progress, SuiteError
from envs.ogbench._environments import draw_nothing
from envs.ogbench._files import check_size, checked, official_files, official_names, official_place, record_of
from envs.ogbench._locks import locked
from envs.ogbench._tasks import Domain

TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as lost."""

BLOCK = 1 << 20


def download(domain: Domain, identity: Identity, folder: Path, address: str, progress: Progress) -> None:
    """Make sure that the official files are there and whole; files found are checked, missing ones fetched."""
    place, names = official_place(domain, identity, folder), official_names(domain, identity)
    for number, name in enumerate(names):
        if not (place / name).exists():
            url = f"{(address or _official_address()).rstrip('/')}/{name}"
            fetch(url, place / name, lambda path: check_size(path, domain), progress)
        progress(f"checking {identity['name']}", number, len(names))
        check_size(place / name, domain)  # before its hash is remembered, so that a wrong file is soon forgotten
        checked(place / name)
    progress(f"checking {identity['name']}", len(names), len(names))
    official_files(domain, identity, folder)


def _official_address() -> str:
    draw_nothing()
    from ogbench.utils import DATASET_URL

    return DATASET_URL


def fetch(url: str, target: Path, check: Callable[[Path], object], progress: Progress) -> None:
    """Download ``url`` to ``target``, going on with ``<target>.part`` if an earlier call left one.

    ``check`` raises `SuiteError` if a complete file is not what it should be. A target fetched before, and
    since deleted, must have the same contents as then.
    """
    part = target.with_name(f"{target.name}.part")
    with locked(target.with_name(f"{target.name}.lock")):
        if target.exists():  # another process fetched it while this one waited
            return
        try:
            _transfer(url, part, lambda done, total: progress(f"downloading {target.name}", done, total))
        except urllib.error.HTTPError as error:
            raise SuiteError(
                f"{shown(url)} answers {error.code} {error.reason}: name another address with --mirror URL."
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _transfer_fault(url, part, error) from error
        try:
            check(part)
            checked(part, record_of(target))
        except SuiteError as error:
            part.unlink()
            raise SuiteError(
                f"the download of {shown(url)} is unusable and was deleted ({error}); try again or use --mirror URL."
            ) from error
        part.replace(target)


def _transfer(url: str, part: Path, progress: Callable[[int, int], None]) -> None:
    """Append the rest of ``url`` to ``part``; raises as urllib does, and `ConnectionError` if the end is missing."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        with error:
            if _total(error.headers.get("Content-Range")) == have:
                return
        part.unlink()  # longer than the file: it belongs to another one
        _transfer(url, part, progress)
        return
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        length = int(response.headers.get("Content-Length", -1))
        done = have if resumed else 0
        total = done + length if length >= 0 else 0
        with part.open("ab" if resumed else "wb") as stream:
            done = _copy(response, stream, done, total, progress)
    if length >= 0 and done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _copy(
    source: IO[bytes] | http.client.HTTPResponse,
    stream: IO[bytes],
    done: int,
    total: int,
    progress: Callable[[int, int], None],
) -> int:
    while block := source.read(BLOCK):
        stream.write(block)
        done += len(block)
        if total > 0:  # a server need not say how long a file is
            progress(done, total)
    stream.flush()
    os.fsync(stream.fileno())
    return done


def _total(content_range: str | None) -> int | None:
    """The size in a ``Content-Range: bytes */SIZE`` header."""
    match = re.fullmatch(r"bytes \*/(\d+)", content_range or "")
    return int(match[1]) if match else None


def _transfer_fault(url: str, part: Path, error: OSError | http.client.HTTPException | ValueError) -> SuiteError:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return SuiteError(
            f"no space left for {part}: make room or choose another folder with --data-dir DIR, and run again."
        )
    if isinstance(error, PermissionError):
        return SuiteError(f"{part} may not be written: choose another folder with --data-dir DIR.")
    seen, said = shown(url), blotted(str(error), url)
    if isinstance(error, ValueError):
        return SuiteError(f"{seen} is no address that can be fetched ({said}): mend --mirror URL.")
    return SuiteError(
        f"{seen} could not be fetched ({said}): run again to go on, name another address with --mirror URL, or put the "
        f"file into {part.parent} yourself."
    )
