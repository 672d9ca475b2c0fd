"""The files of the one-machine cluster; slurm.conf is made from the template beside this."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template


@dataclass(frozen=True)
class Shape:
    """What the cluster offers; nodes, processors and memory need not exist."""

    folder: Path
    nodes: int = 4
    cpus: int = 8
    memory_mb: int = 16000
    gpus: int = 2
    shards: int = 8
    port: int = 17817

    @property
    def conf(self) -> Path:
        return self.folder / "etc" / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "run" / "munge" / "munge.socket"

    @property
    def database_socket(self) -> Path:
        return self.folder / "run" / "database" / "database.socket"

    @property
    def node_names(self) -> list[str]:
        return [f"n{i + 1}" for i in range(self.nodes)]


def slurm_conf(shape: Shape, host: str) -> str:
    last = shape.port + 2 + shape.nodes
    values = {
        "host": host,
        "folder": shape.folder,
        "munge_socket": shape.munge_socket,
        "port": shape.port,
        "database_port": shape.port + 1,
        "names": f"n[1-{shape.nodes}]" if shape.nodes > 1 else "n1",
        "ports": f"[{shape.port + 3}-{last}]" if shape.nodes > 1 else last,
    }
    sizes = {name: getattr(shape, name) for name in ("cpus", "memory_mb", "gpus", "shards")}
    return Template(Path(__file__).with_name("slurm.conf.template").read_text()).substitute(values | sizes)


def gres_conf(shape: Shape) -> str:
    """A GPU without a device file is refused, so each has one: a copy of the null device."""
    names = f"n[1-{shape.nodes}]" if shape.nodes > 1 else "n1"
    files = f"{shape.folder}/dev/gpu[0-{shape.gpus - 1}]" if shape.gpus > 1 else f"{shape.folder}/dev/gpu0"
    return f"NodeName={names} Name=gpu File={files}\nNodeName={names} Name=shard Count={shape.shards}\n"


def cgroup_conf(version: tuple[int, int]) -> str:
    """The plugin that needs nothing: without a line slurmd looks for control groups and gives up in a container."""
    return f"CgroupPlugin={'disabled' if version >= (23, 11) else 'cgroup/v1'}\n"


def slurmdbd_conf(shape: Shape, host: str) -> str:
    folder = shape.folder
    return f"""\
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={shape.port + 1}
AuthType=auth/munge
AuthInfo=socket={shape.munge_socket}
CommunicationParameters=NoInAddrAny
SlurmUser=root
PidFile={folder}/run/slurmdbd.pid
LogFile={folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=accounts
"""
