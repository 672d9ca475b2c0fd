"""Downloads from a server on this machine."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import file_columns

from envs._suite import SuiteError
from envs.ogbench._download import download, fetch
from envs.ogbench._files import checked, record_of
from envs.ogbench._tasks import Domain, domains

Writer = Callable[..., Path]
IDENTITY = {"source": "official", "name": "puzzle-3x3-play-v0"}
FILE = "puzzle-3x3-play-v0.npz"


def nothing(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``cut`` bytes at most of each answer, ``ranges`` or not; counts what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.cut: int | None = None
        self.ranges = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] -- how http.server is meant to be typed

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(re.findall(r"bytes=(\d+)-", wanted)[0]) if wanted and self.server.ranges else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.cut])

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def content(tmp_path: Path, write_file: Writer, puzzle_domain: Domain) -> bytes:
    return write_file(tmp_path / "origin" / FILE, puzzle_domain).read_bytes()


def test_a_file_is_fetched_once_and_its_hash_kept(
    tmp_path: Path, server: Server, content: bytes, puzzle_domain: Domain
):
    server.files[f"/{FILE}"] = content
    seen = []
    download(puzzle_domain, IDENTITY, tmp_path, server.address, lambda *step: seen.append(step))
    assert (tmp_path / FILE).read_bytes() == content
    assert (f"downloading {FILE}", len(content), len(content)) in seen
    assert record_of(tmp_path / FILE).exists()
    assert not (tmp_path / f"{FILE}.part").exists()
    download(puzzle_domain, IDENTITY, tmp_path, server.address, nothing)
    assert len(server.asked) == 1


def test_files_that_the_package_fetched_are_used(
    tmp_path: Path, home: Path, server: Server, content: bytes, puzzle_domain: Domain
):
    kept = home / ".ogbench" / "data"
    kept.mkdir(parents=True)
    (kept / FILE).write_bytes(content)
    download(puzzle_domain, IDENTITY, tmp_path, server.address, nothing)
    assert server.asked == []
    assert record_of(kept / FILE).exists()


def test_a_cut_download_says_so_and_goes_on(tmp_path: Path, server: Server, content: bytes, puzzle_domain: Domain):
    server.files[f"/{FILE}"] = content
    server.cut = 1000
    with pytest.raises(SuiteError, match=f"ended after 1000 of {len(content)} bytes.*run again to go on"):
        download(puzzle_domain, IDENTITY, tmp_path, server.address, nothing)
    assert (tmp_path / f"{FILE}.part").read_bytes() == content[:1000]
    server.cut = None
    download(puzzle_domain, IDENTITY, tmp_path, server.address, nothing)
    assert server.asked[-1] == (f"/{FILE}", "bytes=1000-")
    assert (tmp_path / FILE).read_bytes() == content


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("begun", ["all", "more", "some"])
def test_whatever_part_is_left_the_file_becomes_right(
    tmp_path: Path, server: Server, content: bytes, puzzle_domain: Domain, ranges: bool, begun: str
):
    server.files[f"/{FILE}"] = content
    server.ranges = ranges
    part = {"all": content, "more": content + b"tail", "some": content[:77]}[begun]
    (tmp_path / f"{FILE}.part").write_bytes(part)
    download(puzzle_domain, IDENTITY, tmp_path, server.address, nothing)
    assert (tmp_path / FILE).read_bytes() == content


def test_damage_on_the_way_is_found_before_the_file_gets_its_name(
    tmp_path: Path, server: Server, content: bytes, puzzle_domain: Domain
):
    middle = len(content) // 2
    server.files[f"/{FILE}"] = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    with pytest.raises(SuiteError, match=r"the download of .* is unusable and was deleted"):
        download(puzzle_domain, IDENTITY, tmp_path, server.address, nothing)
    assert list(tmp_path.glob(f"{FILE}")) == list(tmp_path.glob("*.part")) == []


def test_contents_that_changed_at_the_source_are_refused(
    tmp_path: Path, server: Server, content: bytes, puzzle_domain: Domain, write_file: Writer
):
    server.files[f"/{FILE}"] = content
    download(puzzle_domain, IDENTITY, tmp_path, server.address, nothing)
    (tmp_path / FILE).unlink()
    server.files[f"/{FILE}"] = write_file(tmp_path / "origin" / "other.npz", puzzle_domain, seed=1).read_bytes()
    with pytest.raises(SuiteError, match="is not the file it was"):
        download(puzzle_domain, IDENTITY, tmp_path, server.address, nothing)
    assert not (tmp_path / FILE).exists()


def test_a_missing_file_a_missing_server_and_a_bad_address_are_told_apart(
    tmp_path: Path, server: Server, puzzle_domain: Domain
):
    with pytest.raises(SuiteError, match=r"answers 404 .*--mirror URL"):
        download(puzzle_domain, IDENTITY, tmp_path, server.address, nothing)
    with pytest.raises(SuiteError, match=r"could not be fetched .*into .* yourself"):
        download(puzzle_domain, IDENTITY, tmp_path, "http://127.0.0.1:9", nothing)
    with pytest.raises(SuiteError, match="is no address that can be fetched"):
        download(puzzle_domain, IDENTITY, tmp_path, "nowhere", nothing)


def test_a_full_disk_is_named(tmp_path: Path, server: Server, content: bytes, puzzle_domain: Domain):
    server.files[f"/{FILE}"] = content
    (tmp_path / f"{FILE}.part").symlink_to("/dev/full")
    with pytest.raises(SuiteError, match="no space left"):
        download(puzzle_domain, IDENTITY, tmp_path, server.address, nothing)


def test_two_at_once_fetch_once(tmp_path: Path, server: Server, content: bytes):
    server.files["/f"] = content
    threads = [
        threading.Thread(target=fetch, args=(f"{server.address}/f", tmp_path / "f", lambda path: None, nothing))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 1
    assert (tmp_path / "f").read_bytes() == content


def test_shards_are_fetched_into_their_folder_and_must_be_equal(tmp_path: Path, server: Server, write_file: Writer):
    import dataclasses

    domain = dataclasses.replace(domains()["puzzle-4x4-play-sparse"], episodes=2, rows=5)
    identity = {"source": "official", "name": domain.official, "shards": 2}
    for number, shape in enumerate([domain, dataclasses.replace(domain, episodes=3)]):
        file = f"puzzle-4x4-play-v0-{number:03d}.npz"
        server.files[f"/{domain.official}/{file}"] = write_file(tmp_path / "origin" / file, shape).read_bytes()
    with pytest.raises(SuiteError, match="unequal numbers of rows"):
        download(domain, identity, tmp_path, server.address, nothing)
    folder = tmp_path / domain.official
    assert sorted(path.name for path in folder.glob("*.npz")) == [
        "puzzle-4x4-play-v0-000.npz",
        "puzzle-4x4-play-v0-001.npz",
    ]
    np.testing.assert_array_equal(np.load(folder / "puzzle-4x4-play-v0-000.npz")["qpos"], file_columns(domain)["qpos"])
    (folder / "puzzle-4x4-play-v0-001.npz").unlink()
    record_of(folder / "puzzle-4x4-play-v0-001.npz").unlink()
    server.files[f"/{domain.official}/puzzle-4x4-play-v0-001.npz"] = server.files[
        f"/{domain.official}/puzzle-4x4-play-v0-000.npz"
    ]
    download(domain, identity, tmp_path, server.address, nothing)
    assert checked(folder / "puzzle-4x4-play-v0-000.npz") == checked(folder / "puzzle-4x4-play-v0-001.npz")
