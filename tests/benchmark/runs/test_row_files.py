"""Files of rows: a save costs what is new, and damage to one checkpoint leaves the other whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.runs import checkpoint, row_files
from benchmark.runs.row_files import Arrays, Mark, RowFiles

ROWS = np.arange(40, dtype=np.float32).reshape(20, 2)
TREE = {"weights": np.ones(3, np.float32)}


def save(folder: Path, files: RowFiles, rows: int) -> Mark:
    """A checkpoint of so many rows, one end for every four."""

    def history(since: tuple[int, int]) -> Arrays:
        return {"row": ROWS[since[0] : rows], "end": ROWS[since[1] : rows // 4]}

    mark = files.grow((rows, rows // 4), history)
    checkpoint.save(folder, TREE, {}, {"rows_saved": rows}, rows=mark)
    files.saved(mark)
    return mark


def held(folder: Path, name: str = checkpoint.FILE) -> int:
    """How many rows a checkpoint holds, once all of them were compared."""
    found = checkpoint.load(folder / name, TREE).rows
    count = len(found["row"])
    np.testing.assert_array_equal(found["row"], ROWS[:count])
    np.testing.assert_array_equal(found["end"], ROWS[: count // 4])
    return count


def test_each_of_the_two_kept_checkpoints_has_its_rows(tmp_path: Path) -> None:
    files = RowFiles(tmp_path)
    for rows in (3, 8, 8, 15, 20):
        save(tmp_path, files, rows)
    assert held(tmp_path) == 20
    assert held(tmp_path, checkpoint.PREVIOUS) == 15


def test_a_save_writes_what_is_new(tmp_path: Path) -> None:
    files = RowFiles(tmp_path)
    save(tmp_path, files, 10)
    save(tmp_path, files, 12)
    before = {name: (tmp_path / name).read_bytes() for name in row_files.NAMES}
    save(tmp_path, files, 14)
    after = {name: (tmp_path / name).read_bytes() for name in row_files.NAMES}
    (grown,) = (name for name in row_files.NAMES if before[name] != after[name])
    assert after[grown].startswith(before[grown])
    assert len(after[grown]) - len(before[grown]) < len(before[grown]) + 4 * 2 * 4


@pytest.mark.parametrize("damaged", [checkpoint.FILE, checkpoint.PREVIOUS])
def test_damage_to_one_leaves_the_other(tmp_path: Path, damaged: str) -> None:
    files = RowFiles(tmp_path)
    marks = {rows: save(tmp_path, files, rows) for rows in (9, 16)}
    path = tmp_path / marks[16 if damaged == checkpoint.FILE else 9].file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (left,) = checkpoint.usable(tmp_path)
    assert left.note["rows_saved"] == (9 if damaged == checkpoint.FILE else 16)
    assert held(tmp_path, left.path.name) == left.note["rows_saved"]
    with pytest.raises(checkpoint.CheckpointError, match="not those that were saved"):
        checkpoint.load(tmp_path / damaged, TREE)


def test_what_an_interrupted_save_left_is_written_over(tmp_path: Path) -> None:
    files = RowFiles(tmp_path)
    save(tmp_path, files, 5)
    save(tmp_path, files, 6)
    files.grow((11, 2), lambda since: {"row": 0 * ROWS[since[0] : 11], "end": 0 * ROWS[since[1] : 2]})  # and no more
    assert held(tmp_path) == 6
    assert held(tmp_path, checkpoint.PREVIOUS) == 5
    again = checkpoint.files_of_rows(tmp_path)
    save(tmp_path, again, 12)
    assert held(tmp_path) == 12
    assert held(tmp_path, checkpoint.PREVIOUS) == 6


def test_who_lost_the_run_and_writes_all_the_same_takes_one_save_at_most(tmp_path: Path) -> None:
    """A writer that slept through the loss of its lease wrote over rows of the one after it, who writes them anew."""
    asleep = RowFiles(tmp_path)
    for rows in (3, 5):
        save(tmp_path, asleep, rows)
    awake = checkpoint.files_of_rows(tmp_path)
    for rows in (9, 12, 14):
        save(tmp_path, awake, rows)
    asleep.grow((7, 1), lambda since: {"row": 0 * ROWS[since[0] : 7], "end": 0 * ROWS[since[1] : 1]})
    assert checkpoint.usable(tmp_path)
    for rows in (16, 18, 20):
        save(tmp_path, awake, rows)
    assert (held(tmp_path), held(tmp_path, checkpoint.PREVIOUS)) == (20, 18)


def test_going_back_forgets_what_was_saved_after(tmp_path: Path) -> None:
    files = RowFiles(tmp_path)
    for rows in (4, 8):
        save(tmp_path, files, rows)
    checkpoint.go_back(tmp_path, checkpoint.usable(tmp_path)[1])
    assert held(tmp_path) == 4
    again = checkpoint.files_of_rows(tmp_path)
    for rows in (10, 13):
        save(tmp_path, again, rows)
    assert (held(tmp_path), held(tmp_path, checkpoint.PREVIOUS)) == (13, 10)
    checkpoint.go_back(tmp_path, None)
    assert list(tmp_path.iterdir()) == []
