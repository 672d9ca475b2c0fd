"""Options, and what all tests share: one CPU thread per program, no skips where everything must be there."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile much and run little, and two of them run side by side.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1")

GOLDEN = Path(__file__).parent / "data" / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", type=Path, default=GOLDEN, metavar="DIR", help="folder of golden vectors to check")
    parser.addoption("--kills", type=int, default=6, metavar="N", help="how often to kill a run in the test of kills")


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    return int(str(request.config.getoption("--kills")))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what one of them made run in one process: those of a file, or of a method in it. Those that wait
    for the cluster come first, or the other processes would wait for them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slurm") is None)
    for item in items:
        given = getattr(item, "callspec", None)
        method = given.params.get("method", "") if given else ""
        # All that need the cluster share one, which the last of them stops.
        together = "slurm" if item.get_closest_marker("slurm") else f"{item.path.stem} {method}"
        item.add_marker(pytest.mark.xdist_group(together))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Forget the compiled programs of a group: each of them holds mappings of memory, of which a process may have about
    65,000, and the compiler crashes at the last one."""
    jax = sys.modules.get("jax")
    if jax and (nextitem is None or _group(item) != _group(nextitem)):
        jax.clear_caches()
        gc.collect()


def _group(item: pytest.Item) -> object:
    marker = item.get_closest_marker("xdist_group")
    return marker.args if marker else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "golden_file" in metafunc.fixturenames:
        folder = Path(str(metafunc.config.getoption("--golden")))
        files = sorted(folder.glob("*.npz"))
        if not files:
            raise pytest.UsageError(f"no .npz file in {folder}; give --golden a folder of golden vectors")
        metafunc.parametrize("golden_file", files, ids=[file.stem for file in files])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be missing: {report.longrepr}"
