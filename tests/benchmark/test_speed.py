"""The speed command says what it should; how fast it is, is for the reader."""

from __future__ import annotations

import pytest

from benchmark import speed


@pytest.mark.slow
def test_planning_is_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(speed, "METHODS", 1)
    monkeypatch.setattr(speed, "DONE", 300)
    monkeypatch.setattr(speed, "STALE", 100)
    speed.run(["--rounds", "1"])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("400 cells, 300 done, 100 of them by other code; 1 rounds")
    assert len(lines) == 5
    assert all(line.split(" s (from")[0].split()[-1].replace(".", "").isdigit() for line in lines)
