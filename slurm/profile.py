"""Cluster profiles: what a job asks for, as data. A site's own is one TOML file, given with ``--profile FILE``."""

from __future__ import annotations

import re
import shlex
import unicodedata
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, Field

from benchmark.planning.errors import LaunchError, nearest
from envs._addresses import shown
from envs._command_line import place
from envs._documents import DocumentError, Schema, read
from methods._contract import Count

FOLDER = Path(__file__).parent / "profiles"


def _one_line(text: str) -> str:
    """A line break in a job's script would make a command of what follows it."""
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise ValueError("it must be one line of text")
    return text


def _variable(name: str) -> str:
    """What is no name of a variable would be a command of its own in the job's script."""
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"{name!r} is no name of a variable")
    return name


def _as_text(value: Any) -> Any:
    """What an option or variable is set to is a text, and people write numbers there."""
    return str(value) if type(value) in (int, float) else value


def _name(text: str) -> str:
    """An option of a job's script ends at a space, and what follows would be an option of its own."""
    if re.search(r"[\s#'\"\\]", text):
        raise ValueError(f"{text!r} is no name of a cluster's: it has a space, a quote or a # in it")
    return text


def _program(text: str) -> str:
    """What starts Python, as the shell takes it apart."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no command ({str(error).lower()})") from error
    if text and not words:
        raise ValueError(f"{text!r} is no command; leave it empty for the Python of the launch")
    return text


def _option(name: str) -> str:
    """An option as sbatch writes it; what a profile or this program says itself would be said twice."""
    plain = name.removeprefix("--").replace("_", "-")
    if not re.fullmatch("[a-z][a-z-]+", plain):
        raise ValueError(f"{name!r} is no option of sbatch; write its long name")
    if own := OWN_WORDS.get(plain):
        raise ValueError(f"{name!r} has a word of its own here; say {own}")
    if plain in FIXED:
        raise ValueError(f"{name!r} is what this program says itself; leave it out")
    return plain


OWN_WORDS = {
    **{name: name for name in ("partition", "account", "qos", "constraint", "gres")},
    **{"time": "time_minutes", "cpus-per-task": "cpus", "mem": "memory_gb", "mem-per-cpu": "memory_gb"},
    **{"array": "array_parallelism", "signal": "signal_seconds"},
}
"""Options of a job that a profile says by another word."""
FIXED = frozenset(
    {
        "job-name",
        "comment",
        "output",
        "error",
        "open-mode",
        "requeue",
        "no-requeue",
        "nodes",
        "ntasks",
        "wckey",
        "chdir",
    }
)
"""Options by which jobs are known again, and go on."""
Word = Annotated[str, AfterValidator(_one_line)]
Name = Annotated[str, AfterValidator(_one_line), AfterValidator(_name)]
Words = dict[Annotated[Word, AfterValidator(_option)], Annotated[Word, BeforeValidator(_as_text)]]
Variables = dict[Annotated[str, AfterValidator(_variable)], Annotated[Word, BeforeValidator(_as_text)]]


class Profile(Schema):
    """What every job of a submission asks for; empty or 0 leaves a thing to the cluster.

    ``signal_seconds`` before the end of its time a job is warned: longer than the longest compilation, evaluation and
    save together. ``packs_per_job`` packs share a job's device. ``python`` starts Python in the job, for a container.
    ``use_srun`` starts it as a job step, for sites that want steps.
    """

    time_minutes: Count
    cpus: Count
    memory_gb: Annotated[float, Ge(0.1), Le(1e6)]
    partition: Name = ""
    account: Name = ""
    qos: Name = ""
    constraint: Name = ""
    gres: Name = ""
    array_parallelism: Count = 256
    signal_seconds: Annotated[int, Ge(0)] = 600
    packs_per_job: Count = 1
    seeds_per_pack: Annotated[int, Ge(0)] = 0
    exclude_after: Annotated[int, Ge(0)] = 3
    python: Annotated[Word, AfterValidator(_program)] = ""
    setup: tuple[str, ...] = ()
    environment: Variables = Field(default_factory=dict)
    scratch: Word = ""
    use_srun: bool = False
    extra: Words = Field(default_factory=dict)

    @property
    def shown(self) -> Profile:
        """As people may see it: without the passwords of its environment."""
        secret = re.compile("PASSWORD|TOKEN|SECRET|KEY", re.IGNORECASE)
        seen = {name: "***" if secret.search(name) else shown(value) for name, value in self.environment.items()}
        return self.model_copy(update={"environment": seen})

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
    path = place(Path(name))
    if name in names():
        path = FOLDER / f"{name}.toml"
    elif not path.is_file():
        hint = nearest(name, names())
        raise LaunchError(f"there is no profile {name!r}; it is {', '.join(names())}, or a TOML file{hint}")
    try:
        profile = read(path, Profile, toml=True)
    except (FileNotFoundError, DocumentError) as error:
        raise LaunchError(f"profile {name!r}: {error}") from error
    if profile.signal_seconds >= 60 * profile.time_minutes:
        raise LaunchError(
            f"signal_seconds in {path} is {profile.signal_seconds}, and a job has {60 * profile.time_minutes} seconds "
            "in all; warn it later, or give it more time"
        )
    return profile
