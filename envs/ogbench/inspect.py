"""Says what a data file holds: ``python -m envs.ogbench.inspect FILE|DOMAIN [--plot out.png]``.

Checks schema and every value, labels the five tasks as training does, and prints what was found beside what was
measured of data of the same kind (``measured.toml``).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Required

import numpy as np
import tyro
from typing_extensions import TypedDict

from envs._command_line import place
from envs._documents import read
from envs._suite import SuiteError
from envs.ogbench import _files, _generate
from envs.ogbench._commands import HOME, domain_named, told
from envs.ogbench._relabel import Labelled, label
from envs.ogbench._statistics import statistics
from envs.ogbench._tasks import Domain, domain_of_data, domains, identity


@dataclass(frozen=True)
class Arguments:
    """Check and describe a data file."""

    what: tyro.conf.Positional[str]
    """a file, a folder of generated data, or a domain whose file is looked for in the data folder"""
    plot: Path | None = None
    """picture to draw: where states lie, and the return of each trajectory"""
    data_dir: Path = HOME
    """folder of the official files, and of generated/"""


class Measured(TypedDict, total=False):
    """What ``measured.toml`` says of data."""

    transitions: Required[int]
    success: Required[tuple[float, ...]]
    entries: tuple[int, ...]
    reward: tuple[float, float]
    action_mean_abs: float
    action_std: tuple[float, ...]
    at_limit: tuple[float, ...]
    step_length: float
    still: float


@cache
def measured() -> dict[str, Measured]:
    """What was measured, by environment and procedure."""
    return read(Path(__file__).with_name("measured.toml"), dict[str, Measured], "envs/ogbench/measured.toml")


def file_of(what: str, folder: Path) -> tuple[Domain, str, Path]:
    """Domain, procedure and file of a file, a generated folder or a domain's name; official data before generated."""
    path = place(Path(what))
    if path.is_dir():
        if not (path / _generate.CARD).exists():
            raise SuiteError(
                f"{path} holds no generated data: name a file, a folder with a {_generate.CARD}, or a domain."
            )
        data = _generate.read_card(path)["identity"]
        return domain_of_data(data), data["procedure"], path / _generate.volumes(data)[0].file
    if path.suffix == ".npz":
        if not path.exists():
            raise SuiteError(f"there is no file {path}: name one that exists, or a domain.")
        for domain in domains().values():
            for procedure in {domain.data, *(domain.generation.procedures if domain.generation else ())}:
                if path.name.startswith(f"{domain.environment}-{procedure}-v0"):
                    return domain, procedure, path
        raise SuiteError(f"{path.name} is named after no domain: give it OGBench's name, like cube-double-play-v0.npz.")
    domain = domain_named(what)
    first = identity(domain.tasks[0], "official", {"shards": 1} if domain.shards else {})
    official = folder / _files.official_names(domain, first)[0]
    if official.exists():
        return domain, domain.data, official
    found = sorted(
        home for home in folder.glob(f"generated/{domain.environment}-*-v0-*") if (home / _generate.CARD).exists()
    )
    if len(found) > 1:
        names = " or ".join(map(str, found))
        raise SuiteError(f"{folder} holds several datasets of {what}: inspect one of the folders, {names}.")
    if not found:
        raise SuiteError(f"{folder} holds no data of {what}: name a file, or generate or download it first.")
    return file_of(str(found[0]), folder)


PICTURES = (".png", ".pdf", ".svg")


def report(domain: Domain, procedure: str, found: dict[str, Any]) -> str:
    """Statistics as lines of text, what was measured of such data in brackets."""
    name = f"{domain.environment}-{procedure}"
    known: dict[str, Any] = {**measured().get(name, {})}
    rows = found["transitions"]

    def beside(key: str, index: int | None = None) -> str:
        value = known.get(key)
        if value is None:
            return ""
        return f" [{value if index is None else value[index]:g}]"

    lines = [f"{name}: {rows:,} transitions in trajectories of {rows // found['trajectories']:,}"]
    if known:
        lines[0] += f"; in brackets: measured of {known['transitions']:,}"
    low, high = known.get("reward", (0, 0))
    of_rewards = f" [{low:g} to {high:g}]" if low < high else f" [{low:g}]" if low else ""
    lines.append(f"task   success rows, %   entries   mean dense reward{of_rewards}")
    for task in range(5):
        share = f"{100 * found['success_rows'][task] / rows:.2f}{beside('success', task)}"
        entries = f"{found['entries'][task]}{beside('entries', task)}"
        lines.append(f"{task + 1:<7}{share:<18}{entries:<10}{found['reward'][task]:.2f}")
    lines.append(f"mean |action| {found['action_mean_abs']:.2f}{beside('action_mean_abs')}")
    for words, key, scale, digits in (
        ("std of action", "action_std", 1, 2),
        ("at the limit, %", "action_at_limit", 100, 0),
    ):
        other = "at_limit" if key == "action_at_limit" else key
        entries = (f"{scale * value:.{digits}f}{beside(other, i)}" for i, value in enumerate(found[key]))
        lines.append(f"{words}: {', '.join(entries)}")
    low, high = found["observation_std_range"]
    lines.append(f"observations: |.| <= {found['observation_max_abs']:g}, std of an entry {low:g} to {high:g}")
    if "step_length" in found:
        lines.append(
            f"step length {found['step_length']:.3f}{beside('step_length')}, cells visited {found['cells_visited']}, "
            f"hardly moving (net < 0.5 in 20 steps) {100 * found['still']:.1f} %"
            f"{beside('still')}"
        )
    return "\n".join(lines)


def draw(domain: Domain, name: str, data: Labelled, picture: Path) -> None:
    """Where states lie, and the returns of the five tasks' dense rewards; ``name`` is the heading."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = data.columns
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5))
    if "maze" in domain.environment:
        _draw_maze(domain, columns, left)
    else:
        _draw_table(domain, columns, left)
    episodes = np.cumsum(columns["terminals"]) - columns["terminals"]
    returns = [np.bincount(episodes.astype(int), rewards) for rewards in data.rewards]
    bins = np.histogram_bin_edges(np.concatenate(returns), bins=12)
    right.hist(returns, bins=bins.tolist(), label=[f"task {number}" for number in range(1, 6)])
    right.set(xlabel="dense return of a trajectory", ylabel="trajectories")
    right.yaxis.get_major_locator().set_params(integer=True)
    right.legend()
    figure.suptitle(name, fontsize=9)
    figure.tight_layout()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def _draw_maze(domain: Domain, columns: dict[str, np.ndarray], axes: Any) -> None:
    from envs.ogbench._environments import make_for_navigation

    maze: Any = make_for_navigation(domain).unwrapped
    x, y = columns["qpos"][:, 0], columns["qpos"][:, 1]
    half = maze._maze_unit / 2
    for i, j in np.argwhere(maze.maze_map == 1):
        cx, cy = maze.ij_to_xy((i, j))
        axes.add_patch(_square(cx - half, cy - half, 2 * half))
    image = axes.hist2d(x, y, bins=120, cmap="viridis", norm="log")[3]
    axes.figure.colorbar(image, ax=axes, label="rows")
    ends: dict[tuple[float, float], list[str]] = {}
    for number, task in enumerate(maze.task_infos, start=1):
        ends.setdefault(task["init_xy"], []).append(f"start {number}")
        ends.setdefault(task["goal_xy"], []).append(f"goal {number}")
    for (x, y), words in ends.items():
        axes.plot(x, y, "r+")
        axes.annotate("\n".join(words), (x, y + half), color="red", ha="center", va="bottom", fontsize=6)
    axes.set(xlabel="x", ylabel="y", title="where the body was; start and goal of the tasks", aspect="equal")


def _square(x: float, y: float, size: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), size, size, color="0.7")


def _draw_table(domain: Domain, columns: dict[str, np.ndarray], axes: Any) -> None:
    """From above: the effector's path (observations 12..14, scaled by OGBench), and each cube's centre."""
    effector = columns["observations"][:, 12:14] / 10.0 + np.array([0.425, 0.0])
    axes.plot(*effector[:: max(1, len(effector) // 20000)].T, ".", ms=1, color="0.6", label="effector")
    cubes = {"cube-double": 2, "cube-triple": 3, "cube-quadruple": 4, "scene": 1}.get(domain.environment, 0)
    for cube in range(cubes):
        place = columns["qpos"][:, 14 + 7 * cube : 16 + 7 * cube]
        axes.plot(*place[:: max(1, len(place) // 20000)].T, ".", ms=1, label=f"cube {cube + 1}")
    below = "x, m"
    if "button_states" in columns:
        inside = columns["terminals"][:-1] == 0
        changed = np.abs(np.diff(columns["button_states"].astype(int), axis=0))[inside].sum(axis=0)
        below += f"\na button changed its light {changed.min()} to {changed.max()} times"
    axes.set(xlabel=below, ylabel="y, m", title="from above", aspect="equal")
    axes.legend(markerscale=8, loc="upper left", bbox_to_anchor=(1.02, 1.0))


def run(arguments: Arguments) -> None:
    """Check, describe and draw. Raises SuiteError on the first thing that is wrong with the file."""
    if arguments.plot and arguments.plot.suffix not in PICTURES:
        raise SuiteError(f"--plot {arguments.plot} is no kind of picture: end it in {', '.join(PICTURES)}.")
    domain, procedure, file = file_of(arguments.what, place(arguments.data_dir))
    if not file.exists():
        raise SuiteError(f"{file} has gone: generate again, which makes what is missing.")
    made = (file.parent / _generate.CARD).exists()
    sha256 = _generate.check_made(file, _generate.read_card(file.parent)) if made else _files.checked(file)
    data = label(domain, file)
    print(f"{file}\nsha256 {sha256}; schema and values of {domain.name} are right")
    print(report(domain, procedure, statistics(domain, data)))
    if arguments.plot:
        name = f"{file.parent.name}/{file.name}" if made else file.name
        draw(domain, f"{name}\n{len(data.masks[0]):,} transitions", data, arguments.plot)
        print(f"drew {arguments.plot}")


if __name__ == "__main__":
    sys.exit(told(Arguments, run))
