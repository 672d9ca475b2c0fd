"""Cluster profiles: what a job asks for, as data. A site's own is one TOML file, given with ``--profile FILE``."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from benchmark.planning.errors import LaunchError, nearest

FOLDER = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class Profile:
    """What every job of a submission asks for; empty or 0 leaves a thing to the cluster.

    ``signal_seconds`` before the end of its time a job is warned: longer than the longest compilation, evaluation and
    save together. ``packs_per_job`` packs share a job's device. ``python`` starts Python in the job, for a container.
    ``use_srun`` starts it as a job step, for sites that want steps.
    """

    time_minutes: int
    cpus: int
    memory_gb: float
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gres: str = ""
    array_parallelism: int = 256
    signal_seconds: int = 600
    packs_per_job: int = 1
    seeds_per_pack: int = 0
    exclude_after: int = 3
    python: str = ""
    setup: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    scratch: str = ""
    use_srun: bool = False
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """What the job's script does before it starts Python."""
        exports = [f"export {name}={_quoted(value)}" for name, value in self.environment.items()]
        place = [f"mkdir -p {_quoted(self.scratch)}", f"export TMPDIR={_quoted(self.scratch)}"] if self.scratch else []
        return [*self.setup, *exports, *place]


def _quoted(text: str) -> str:
    """In double quotes, so that variables of the node are filled in there."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`") + '"'


def names() -> list[str]:
    """The profiles that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_profile(name: str) -> Profile:
    """A profile by its name, or from a file. Raises LaunchError with one sentence."""
    path = Path(name).expanduser()
    if name in names():
        path = FOLDER / f"{name}.toml"
    elif not path.is_file():
        hint = nearest(name, names())
        raise LaunchError(f"there is no profile {name!r}; it is {', '.join(names())}, or a TOML file{hint}")
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LaunchError(f"the profile {path} can't be read: {error}") from error
    return _checked(path, table)


def _checked(path: Path, table: dict[str, Any]) -> Profile:
    hints = get_type_hints(Profile)
    for key, value in table.items():
        if key not in hints:
            raise LaunchError(f"{key!r} in {path} is no setting of a profile{nearest(key, hints)}")
        table[key] = _typed(path, key, value, hints[key])
    for each in fields(Profile):
        required = each.default is each.default_factory  # both missing
        if required and each.name not in table:
            raise LaunchError(f"the profile {path} does not say {each.name}; add a line for it")
    for key in ("time_minutes", "cpus", "memory_gb", "array_parallelism", "packs_per_job"):
        if not 0 < table.get(key, 1) < math.inf:
            raise LaunchError(f"{key} in {path} is {table[key]}; it must be more than 0")
    for key in ("signal_seconds", "seeds_per_pack", "exclude_after"):
        if table.get(key, 0) < 0:
            raise LaunchError(f"{key} in {path} is {table[key]}; it must not be negative")
    profile = Profile(**table)
    if profile.signal_seconds >= 60 * profile.time_minutes:
        raise LaunchError(
            f"signal_seconds in {path} is {profile.signal_seconds}, and a job has {60 * profile.time_minutes} seconds "
            "in all; warn it later, or give it more time"
        )
    return profile


def _typed(path: Path, key: str, value: Any, wanted: Any) -> Any:
    """The value as its declared type; an int serves as a float."""
    if wanted == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(value)
        kind = "list of lines"
    elif wanted == dict[str, str]:
        if isinstance(value, dict):
            return {name: str(each) for name, each in value.items()}
        kind = "table of words"
    else:
        if wanted is float and type(value) is int:
            return float(value)
        if type(value) is wanted:
            return value
        kind = wanted.__name__
    raise LaunchError(f"{key} in {path} is {value!r}; it must be a {kind}")
