"""The footnotes: which come first, and when code is called mixed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.analysis.stores import cost, only, run

A, B, C = "3f2a91c0aaaaaaaa", "9bc1d2e4bbbbbbbb", "00ff00ffcccccccc"


def runs(*marks: str | None, method: str = "walk", shared: str | None = None, **more: Any) -> list[dict[str, Any]]:
    """A finished run for each of these fingerprints of its method."""
    found = []
    for seed, mark in enumerate(marks):
        tags = {"method_fingerprint": mark, "shared_fingerprint": shared}
        known = {name: value for name, value in tags.items() if value is not None}
        found.append(run(0.5, method=method, seed=str(seed), key=f"{method}{seed}{shared}", **known, **more))
    return found


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([*runs(A, A, shared=C), *runs(B, method="run", shared=C)], None),
        (runs(None, None), None),
        ([*runs("", None), *runs(None, method="run")], None),
        (runs(A, B, A, A), "mixed code: walk 3f2a91c0 (3 runs), 9bc1d2e4 (1 run)"),
        (runs(B, A), "mixed code: walk 3f2a91c0 (1 run), 9bc1d2e4 (1 run)"),
        (runs(f"{A}+{B}", f"{A}+{B}"), "mixed code: walk 3f2a91c0+9bc1d2e4 (2 runs)"),
        (runs(None, A, ""), "mixed code: walk unknown (2 runs), 3f2a91c0 (1 run)"),
        ([*runs(A, A), *runs(None, method="run")], "mixed code: run unknown (1 run)"),
        (
            [*runs(A, B), *runs(A, method="hop"), *runs(A, B, B, method="go-10"), *runs(B, A, method="go-9")],
            "mixed code: go-9 3f2a91c0 (1 run), 9bc1d2e4 (1 run); go-10 9bc1d2e4 (2 runs), 3f2a91c0 (1 run); "
            "walk 3f2a91c0 (1 run), 9bc1d2e4 (1 run)",
        ),
        (
            [*runs(A, A, shared=C), *runs(B, method="run", shared=A)],
            "mixed code: what all methods share 00ff00ff (2 runs), 3f2a91c0 (1 run)",
        ),
        (
            [*runs(A, shared=C), *runs(A, A, method="run")],
            "mixed code: what all methods share unknown (2 runs), 00ff00ff (1 run)",
        ),
    ],
)
def test_mixed_code_is_named_by_fingerprints(made: list[dict[str, Any]], expected: str | None) -> None:
    assert [note for note in only(made).notes if "mixed" in note] == ([expected] if expected else [])


def test_code_is_mixed_only_in_finished_runs_of_one_table() -> None:
    failed = run(None, None, "FAILED", method_fingerprint=B, seed="9")
    assert not any("mixed" in note for note in only([*runs(A, A), failed]).notes)


def test_commits_alone_mix_nothing_and_are_listed() -> None:
    table = only([run(0.5, git_commit="b" * 40, seed="0"), run(0.5, git_commit="a" * 40, git_dirty="true", seed="1")])
    assert not any("mixed" in note for note in table.notes)
    assert "mujoco 3.3.7; code aaaaaaaaaa (dirty), bbbbbbbbbb" in table.notes


def test_the_most_important_note_comes_first() -> None:
    made = runs(A, B, gpu="H200", host="n1", params={"settings.clip": "true"})
    other = run(0.5, method="run", method_fingerprint=A, params={"settings.clip": "false"})
    notes = only([one | cost(1.0, 0.25) for one in made] + [other]).notes
    starts = [
        "runs: 3 finished",
        "mixed code: ",
        "cost: about 30 device-minutes in all",
        "mujoco 3.3.7; code 0123456789",
    ]
    assert [note[: len(start)] for note, start in zip(notes, starts, strict=False)] == starts
    assert [note.split(":")[0] for note in notes[4:]] == ["settings", "differs"]


def test_one_host_is_no_hosts() -> None:
    table = only([run(0.5, gpu="cpu", host="n1") | cost(1.0, 0.00129)])
    assert "cost: about 5 device-seconds in all, on cpu (1 host)" in table.notes
