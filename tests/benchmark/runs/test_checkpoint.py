"""Checkpoints: replaced atomically, every byte checked, and never a pickle."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from benchmark.runs import checkpoint
from benchmark.runs.checkpoint import CheckpointError

# numpy leaves a file open that turns out to be no archive
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Tree(NamedTuple):
    weights: dict[str, np.ndarray]
    number: np.ndarray


def tree(value: float = 1.0) -> Tree:
    rng = np.random.default_rng(0)
    weights = {"a": (value * rng.normal(size=(3, 2))).astype(np.float32), "b": np.arange(4, dtype=np.uint32)}
    return Tree(weights, np.asarray(7, np.int32))


ROWS = {"actions": np.arange(6, dtype=np.float32).reshape(3, 2), "finals": np.zeros((0, 2), np.float32)}
NOTE = {"offset": 12, "final": {"x": 0.1}}


def saved(folder: Path) -> Path:
    checkpoint.save(folder, tree(), ROWS, NOTE)
    return folder / "state.npz"


def same(found: Any, wanted: Any) -> bool:
    return bool(jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), found, wanted)))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    assert checkpoint.usable(folder) == []
    path = saved(folder)
    found, rows, _ = checkpoint.load(path, tree())
    assert same(found, tree())
    assert same(rows, ROWS)
    assert checkpoint.usable(folder) == [(path, NOTE)]
    assert [each.name for each in folder.iterdir()] == ["state.npz"]


def test_a_shape_serves_as_well_as_an_array(tmp_path: Path) -> None:
    saved(tmp_path)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree())
    assert same(checkpoint.load(tmp_path / "state.npz", shapes)[0], tree())


@pytest.mark.parametrize("fails", ["savez", "fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    saved(tmp_path)
    full(monkeypatch, fails)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, tree(2.0), {}, {})
    found, rows, _ = checkpoint.load(tmp_path / "state.npz", tree())
    assert same(found, tree())
    assert same(rows, ROWS)


def full(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """A disk that is full where this function of the save would have to write."""

    def raises(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    owner: Any = {"savez": np, "fsync": os, "replace": Path}[fails]
    monkeypatch.setattr(owner, fails, raises)


@pytest.mark.parametrize("fails", ["savez", "fsync", "replace"])
def test_a_save_that_fails_leaves_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    saved(tmp_path)
    full(monkeypatch, fails)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, tree(2.0), {}, {})
    assert [each.name for each in tmp_path.iterdir()] == ["state.npz"]


def unusable(folder: Path, like: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder / "state.npz", like)
    text = str(caught.value)
    assert text.startswith(f"the checkpoint {folder / 'state.npz'} can't be used (")
    assert text.endswith(f"); delete {folder} to start this run again")
    return text


@pytest.mark.parametrize("keep", [1, 10, 100, -1, -30])
def test_a_truncated_file_says_what_to_do(tmp_path: Path, keep: int) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    unusable(tmp_path, tree())
    with pytest.raises(CheckpointError, match="to start this run again"):
        checkpoint.usable(tmp_path)


def test_an_empty_file_says_what_to_do(tmp_path: Path) -> None:
    saved(tmp_path).write_bytes(b"")
    unusable(tmp_path, tree())


def unnoticed(folder: Path, good: bytes, place: int, like: Tree) -> str | None:
    """What goes wrong with one damaged byte: nothing if it's refused with a sentence, or if it changes no content."""
    (folder / "state.npz").write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, rows, _ = checkpoint.load(folder / "state.npz", like)
            ((_, note),) = checkpoint.usable(folder)
    except CheckpointError:
        return None
    except Exception as error:  # whatever it is, it is not the sentence
        return f"byte {place}: {type(error).__name__}: {error}"
    return None if same(found, tree()) and same(rows, ROWS) and note == NOTE else f"byte {place}: other content"


def test_no_damaged_byte_goes_unnoticed(tmp_path: Path) -> None:
    good = saved(tmp_path).read_bytes()
    found = [unnoticed(tmp_path, good, place, tree()) for place in range(0, len(good), 3)]
    assert not any(found), list(filter(None, found))


def test_a_damaged_number_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    good = path.read_bytes()
    for array in (tree().weights["a"], ROWS["actions"]):
        place = good.index(array.tobytes())
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        unusable(tmp_path, tree())


def test_another_tree_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    wider = tree()._replace(weights=tree().weights | {"a": np.zeros((3, 3), np.float32)})
    assert ".weights['a'] has shape (3, 2) where (3, 3) is wanted" in unusable(tmp_path, wider)
    other = tree()._replace(number=np.asarray(7, np.uint32))
    assert ".number" in unusable(tmp_path, other)
    more = tree()._replace(weights=tree().weights | {"c": np.zeros(1)})
    assert "it has no .weights['c']" in unusable(tmp_path, more)


class Harmful:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (self.path.touch, ())


def test_no_pickle_is_written(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}], dtype=object)
    with pytest.raises(ValueError, match="allow_pickle"):
        checkpoint.save(tmp_path, {"a": objects}, {}, {})
    assert checkpoint.usable(tmp_path) == []


def test_no_pickle_is_read(tmp_path: Path) -> None:
    sign, path = tmp_path / "run", saved(tmp_path / "checkpoint")
    stream = io.BytesIO()
    arrays: Any = {"['number']": np.array([Harmful(sign)], dtype=object)}
    np.savez(stream, **arrays)
    path.write_bytes(stream.getvalue())
    unusable(tmp_path / "checkpoint", {"number": np.zeros(1)})
    assert not sign.exists()
