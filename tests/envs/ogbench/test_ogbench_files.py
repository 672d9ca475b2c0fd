"""Finding, checking and reading data files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import file_columns

from envs._suite import SuiteError
from envs.ogbench._files import checked, official_files, read, record_of, rows_of
from envs.ogbench._relabel import regular
from envs.ogbench._tasks import Domain, domains

Writer = Callable[..., Path]
OFFICIAL = {"source": "official", "name": "puzzle-3x3-play-v0"}
SHARDED = {"source": "official", "name": "puzzle-4x4-play-100m-v0", "shards": 3}


def test_a_good_file_is_read_as_it_was_written(tmp_path: Path, write_file: Writer, puzzle_domain: Domain):
    columns = read(write_file(tmp_path / "a.npz", puzzle_domain), puzzle_domain)
    for name, values in file_columns(puzzle_domain).items():
        np.testing.assert_array_equal(columns[name], values)


def test_transitions_equal_those_of_the_package(tmp_path: Path, write_file: Writer, puzzle_domain: Domain):
    from ogbench.utils import load_dataset

    file = write_file(tmp_path / "a.npz", puzzle_domain)
    ours, theirs = regular(read(file, puzzle_domain)), load_dataset(str(file), add_info=True)
    assert len(ours["actions"]) == 2 * (5 - 1)
    finals = ours["observations"][8:]
    np.testing.assert_array_equal(finals, file_columns(puzzle_domain)["observations"][[4, 9]])
    ours["observations"] = ours["observations"][:8]
    ours["next_observations"] = np.roll(ours["observations"], -1, axis=0)
    ours["next_observations"][ours["terminals"] == 1] = finals
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values)
        assert name == "button_states" or ours[name].dtype == np.float32


def _with(name: str, index: tuple[int, ...], value: float) -> Callable[[Domain], dict[str, np.ndarray]]:
    def change(domain: Domain) -> dict[str, np.ndarray]:
        column = file_columns(domain)[name]
        column[index] = value
        return {name: column}

    return change


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (lambda _: {"qpos": None}, "has no array 'qpos'"),
        (lambda _: {"valids": np.ones(10)}, "compact layout"),
        (lambda _: {"qpos": np.zeros((10, 22), np.float32)}, r"qpos of .*float32 \(10, 22\) where .*\(10, 23\)"),
        (lambda _: {"actions": np.zeros((9, 5), np.float32)}, r"actions of .*\(9, 5\)"),
        (lambda _: {"terminals": np.zeros(10, np.float32)}, "terminals of .* of kind 'b'"),
        (_with("observations", (3, 1), np.nan), "observations of .* not finite"),
        (_with("qvel", (3, 1), np.inf), "qvel of .* not finite"),
        (_with("actions", (2, 4), -1.01), "actions beyond"),
        (_with("terminals", (9,), 0), "episodes of 5 rows"),
        (_with("terminals", (4,), 0), "episodes of 5 rows"),
        (_with("terminals", (2,), 1), "episodes of 5 rows"),
        (lambda _: {"observations": np.zeros((10, 55), np.float16)}, "observations of .* is float16"),
        (lambda _: {"observations": np.float32(0)}, "holds no rows"),
        (_with("button_states", (0, 3), 7), "states of buttons beyond 0 and 1"),
        (lambda _: {"terminals": np.zeros(10, bool)}, "episodes of 5 rows"),
    ],
)
def test_unfit_contents_are_refused(
    tmp_path: Path, write_file: Writer, puzzle_domain: Domain, changes: Callable, sentence: str
):
    file = write_file(tmp_path / "a.npz", puzzle_domain, **changes(puzzle_domain))
    with pytest.raises(SuiteError, match=sentence):
        read(file, puzzle_domain)


def test_no_damage_passes_the_full_check(tmp_path: Path, write_file: Writer, puzzle_domain: Domain):
    """Any flipped byte is either found or harmless (zip files hold a few bytes that nobody reads)."""
    file = write_file(tmp_path / "a.npz", puzzle_domain)
    content, good = file.read_bytes(), read(file, puzzle_domain)
    found = 0
    for position in range(0, len(content), 41):
        file.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
        record_of(file).unlink(missing_ok=True)
        try:
            checked(file)
        except SuiteError:
            found += 1
            continue
        columns = read(file, puzzle_domain)
        for name, values in good.items():
            np.testing.assert_array_equal(columns[name], values)
    assert found > 0.9 * len(content) / 41


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path: Path, write_file: Writer, puzzle_domain: Domain, share: float):
    file = write_file(tmp_path / "a.npz", puzzle_domain)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    for look in (checked, lambda path: rows_of(path, puzzle_domain), lambda path: read(path, puzzle_domain)):
        with pytest.raises(SuiteError, match=r"a\.npz is truncated or no \.npz file: delete it and"):
            look(file)


def test_a_check_is_remembered_until_the_file_changes(tmp_path: Path, write_file: Writer, puzzle_domain: Domain):
    file = write_file(tmp_path / "a.npz", puzzle_domain)
    sha256, status, content = checked(file), file.stat(), file.read_bytes()
    file.write_bytes(bytes(len(content)))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert checked(file) == sha256, "same size and time: not read again"
    file.write_bytes(content)
    os.utime(file, ns=(0, 0))
    assert checked(file) == sha256, "same contents under another time"
    write_file(file, puzzle_domain, seed=1)
    with pytest.raises(SuiteError, match="is not the file it was"):
        checked(file)
    file.write_bytes(bytes(len(content)))
    with pytest.raises(SuiteError, match="is truncated"):
        checked(file)


def test_a_read_only_folder_is_checked_too(
    tmp_path: Path, home: Path, write_file: Writer, puzzle_domain: Domain, monkeypatch: pytest.MonkeyPatch
):
    file = write_file(tmp_path / "a.npz", puzzle_domain)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    checked(file)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert len(list((home / ".ogbench" / "derived").glob("*/a.npz.check.json"))) == 1


def test_the_users_folder_comes_before_the_packages(
    tmp_path: Path, home: Path, write_file: Writer, puzzle_domain: Domain
):
    with pytest.raises(SuiteError, match=r"puzzle-3x3-play-v0 is neither in .* --data-dir DIR"):
        official_files(puzzle_domain, OFFICIAL, tmp_path)
    kept = write_file(home / ".ogbench" / "data" / "puzzle-3x3-play-v0.npz", puzzle_domain)
    assert official_files(puzzle_domain, OFFICIAL, tmp_path) == [kept]
    given = write_file(tmp_path / "puzzle-3x3-play-v0.npz", puzzle_domain)
    assert official_files(puzzle_domain, OFFICIAL, tmp_path) == [given]


def test_a_file_with_other_rows_is_not_the_official_one(tmp_path: Path, write_file: Writer, puzzle_domain: Domain):
    write_file(tmp_path / "puzzle-3x3-play-v0.npz", puzzle_domain)
    with pytest.raises(SuiteError, match="holds 10 rows, not the 1001000"):
        official_files(domains()["puzzle-3x3-play-sparse"], OFFICIAL, tmp_path)


def test_shards_are_found_in_order_and_counted(tmp_path: Path, write_file: Writer):
    domain = dataclasses.replace(domains()["puzzle-4x4-play-sparse"], episodes=2, rows=5)
    folder = tmp_path / SHARDED["name"]
    for number in (2, 0, 3):
        write_file(folder / f"puzzle-4x4-play-v0-{number:03d}.npz", domain)
    (folder / "puzzle-4x4-play-v0-000-val.npz").touch()
    with pytest.raises(
        SuiteError, match=r"holds 2 of 3 shards \(puzzle-4x4-play-v0-001.npz is missing\): .* data.shards=n"
    ):
        official_files(domain, SHARDED, tmp_path)
    second = folder / "puzzle-4x4-play-v0-001.npz"
    write_file(second, dataclasses.replace(domain, episodes=3))
    with pytest.raises(SuiteError, match="unequal numbers of rows"):
        official_files(domain, SHARDED, tmp_path)
    write_file(second, domain)
    found = official_files(domain, SHARDED, tmp_path)
    assert [file.name[-7:-4] for file in found] == ["000", "001", "002"]
    (folder / "puzzle-4x4-play-v0-copy.npz").touch()
    with pytest.raises(SuiteError, match=r"v0-copy.npz is no shard"):
        official_files(domain, SHARDED, tmp_path)
