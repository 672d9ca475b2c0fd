"""Starts and stops the one-machine cluster: ``python -m slurm.local up|down|status`` (as root, on Debian).

``up`` installs Debian's packages if they are missing, starts munge, a database, accounting, a controller and a daemon
for each pretended node, and waits until every node is there; where it runs already it does nothing. Only processes that
it started are ever ended. Clients find the cluster through SLURM_CONF, which ``up`` prints.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from annotated_types import Interval

from envs._command_line import carried_out, parsed
from slurm.local.configuration import Shape, cgroup_conf, gres_conf, slurm_conf, slurmdbd_conf

PACKAGES = ("munge", "slurm-client", "slurmctld", "slurmd", "slurmdbd", "mariadb-server")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLICY = Path("/usr/sbin/policy-rc.d")


class ClusterError(Exception):
    """The cluster could not be started; the text says where to look."""


@dataclass(frozen=True)
class Arguments:
    """Start (up), stop (down) or look at (status) a SLURM cluster on this machine."""

    what: Annotated[Literal["up", "down", "status"], tyro.conf.Positional]
    """start it, stop it, or say whether it runs"""
    folder: Path = Path("/var/lib/slurm-onehost")
    """where all of it lies"""
    port: Annotated[int, Interval(ge=1024, le=65_000)] = Shape.port
    """first of the ports it listens on, at 127.0.0.1"""
    nodes: Annotated[int, Interval(ge=1, le=100)] = Shape.nodes
    """pretended nodes, each of 8 processors, 16 GB and 2 GPUs"""


class Cluster:
    """The daemons of one cluster, by their folder."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.folder = shape, shape.folder
        self.environment = {"PATH": PATH, "LANG": "C.UTF-8", "SLURM_CONF": str(shape.conf)}

    def up(self) -> None:
        """Raises ClusterError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may want it at once
            if self.answers():
                return
            install()
            self._stop_daemons()
            self._lay_out()
            self._start_munge()
            self._start_database()
            self._start_slurm()

    def down(self) -> None:
        """Cancel its jobs, and end its daemons."""
        if self.answers():
            self._say("scancel", "--user=root")
            wait(lambda: not self._say("squeue", "--noheader"), 30)
        self._stop_daemons()

    def answers(self) -> bool:
        """Whether the controller runs and every node is fit."""
        if not self._pid("slurmctld.pid", "slurmctld"):
            return False
        states = self._say("sinfo", "--noheader", "--Node", "--partition=main", "--format=%t").split()
        return len(states) == self.shape.nodes and set(states) <= {"idle", "mix", "alloc", "comp"}

    def _say(self, *words: str) -> str:
        """What a client command says; nothing if it fails."""
        try:
            environment = self.environment
            found = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=20, check=False)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return ""
        return found.stdout if found.returncode == 0 else ""

    def _start(self, *words: str, ready: Callable[[], object], seconds: float = 60.0, **more: str) -> None:
        """Start a daemon apart from this process and its streams, and wait until it is ready."""
        log = self.folder / "log" / f"{Path(words[0]).name}.out"
        with log.open("ab") as output:
            streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            subprocess.run(("setsid", "--fork", *words), env=self.environment | more, check=True, **streams)
        if not wait(ready, seconds):
            raise ClusterError(f"{words[0]} does not get ready; see {log} and the other files there")

    def _lay_out(self) -> None:
        host = socket.gethostname().partition(".")[0]
        for name in ("etc", "run", "log", "state", "spool", "dev"):
            (self.folder / name).mkdir(exist_ok=True)
        for name in self.shape.node_names:
            (self.folder / "spool" / name).mkdir(exist_ok=True)
        version = re.search(r"(\d+)\.(\d+)", self._say("/usr/sbin/slurmctld", "-V"))
        if version is None:
            raise ClusterError("slurmctld does not tell its version; install Debian's package slurmctld")
        files = {
            "slurm.conf": slurm_conf(self.shape, host),
            "gres.conf": gres_conf(self.shape),
            "cgroup.conf": cgroup_conf((int(version[1]), int(version[2]))),
            "slurmdbd.conf": slurmdbd_conf(self.shape, host),
        }
        for name, text in files.items():
            (self.folder / "etc" / name).write_text(text)
        (self.folder / "etc" / "slurmdbd.conf").chmod(0o600)
        for number in range(self.shape.gpus):
            device = self.folder / "dev" / f"gpu{number}"
            if not device.exists():
                os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        if not socket.gethostbyname(host).startswith("127."):
            with Path("/etc/hosts").open("a") as hosts:
                hosts.write(f"127.0.0.1 {host} # slurm.local: its daemons listen where this points\n")

    def _start_munge(self) -> None:
        for place in (self.folder / "munge", self.folder / "log" / "munge", self.shape.munge_socket.parent):
            place.mkdir(parents=True, exist_ok=True)
            shutil.chown(place, "munge", "munge")
        (self.folder / "munge").chmod(0o700)
        self.shape.munge_socket.parent.chmod(0o755)
        key = self.folder / "munge" / "munge.key"
        if not key.exists():
            key.touch(0o400)
            key.write_bytes(os.urandom(128))
            shutil.chown(key, "munge", "munge")
        place, socket_ = self.shape.munge_socket.parent, f"--socket={self.shape.munge_socket}"
        self._start(
            *("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "/usr/sbin/munged"),
            *(f"--key-file={key}", socket_, f"--seed-file={self.folder}/munge/munge.seed"),
            *(
                f"--pid-file={self.shape.munge_socket.parent}/munged.pid",
                f"--log-file={self.folder}/log/munge/munged.log",
            ),
            ready=lambda: self._say("munge", socket_, "--no-input"),
        )

    def _start_database(self) -> None:
        data, run = self.folder / "database", self.shape.database_socket.parent
        run.mkdir(exist_ok=True)
        shutil.chown(run, "mysql", "mysql")
        if not (data / "mysql").exists():
            made = ("mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}", "--skip-test-db")
            data.mkdir(exist_ok=True)
            shutil.chown(data, "mysql", "mysql")
            found = subprocess.run((*made, "--auth-root-authentication-method=socket"), capture_output=True, text=True)
            if found.returncode:
                raise ClusterError(f"mariadb-install-db failed: {found.stderr[-300:]}")
        place = f"--socket={self.shape.database_socket}"
        # Through its socket only; a throw-away cluster has no use for safe writes.
        self._start(
            *("/usr/sbin/mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}", place, "--skip-networking"),
            *(f"--pid-file={run}/mariadbd.pid", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"),
            *("--innodb-buffer-pool-size=128M", "--innodb-lock-wait-timeout=900", "--innodb-doublewrite=0"),
            ready=lambda: self._say("mariadb-admin", "--no-defaults", place, "ping"),
        )

    def _start_slurm(self) -> None:
        place = str(self.shape.database_socket)
        listed = ("sacctmgr", "--noheader", "show", "cluster", "format=cluster")
        self._start("/usr/sbin/slurmdbd", ready=lambda: self._pid("slurmdbd.pid", "slurmdbd"), MYSQL_UNIX_PORT=place)
        wait(lambda: self._succeeds(*listed), 60)
        if "onehost" not in self._say(*listed):
            self._say("sacctmgr", "--immediate", "add", "cluster", "onehost")
        self._start("/usr/sbin/slurmctld", ready=lambda: self._say("scontrol", "show", "partition", "main"))
        for name in self.shape.node_names:
            self._start(
                "/usr/sbin/slurmd", "-N", name, ready=lambda name=name: self._pid(f"slurmd.{name}.pid", "slurmd")
            )
        if not wait(self.answers, 15):  # a node that was down when the cluster last stopped
            for name in self.shape.node_names:
                self._say("scontrol", "update", f"nodename={name}", "state=resume")
        if not wait(self.answers, 60):
            raise ClusterError(f"the nodes do not come up; see {self.folder}/log")

    def _succeeds(self, *words: str) -> bool:
        return subprocess.run(words, env=self.environment, capture_output=True).returncode == 0

    def _pid(self, name: str, command: str) -> int | None:
        """The process that a file of `run` names, if it lives and is called that."""
        try:
            pid = int((self.folder / "run" / name).read_text())
            return pid if Path(f"/proc/{pid}/comm").read_text().startswith(command) else None
        except (OSError, ValueError):
            return None

    def _stop_daemons(self) -> None:
        """The controller first: without its nodes it would wait for them."""
        nodes = [(f"slurmd.{name}.pid", "slurmd") for name in self.shape.node_names]
        others = [("slurmdbd.pid", "slurmdbd"), ("database/mariadbd.pid", "mariadbd"), ("munge/munged.pid", "munged")]
        for name, command in [("slurmctld.pid", "slurmctld"), *nodes, *others]:
            if pid := self._pid(name, command):
                os.kill(pid, signal.SIGTERM)
                if not wait(lambda pid=pid, name=name, command=command: self._pid(name, command) != pid, 15):
                    os.kill(pid, signal.SIGKILL)
            (self.folder / "run" / name).unlink(missing_ok=True)


def wait(what: Callable[[], object], seconds: float) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return bool(found)


def install() -> None:
    """Debian's packages, without the services that they would start on every interface."""
    said = subprocess.run(
        ("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *PACKAGES),
        capture_output=True,
        text=True,
    ).stdout
    missing = [name for name in PACKAGES if f"{name} installed" not in said]
    if not missing:
        return
    print(f"installing {', '.join(missing)}", flush=True)
    mine = not POLICY.exists()
    if mine:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        for words in (("update",), ("install", "--yes", "--no-install-recommends", *missing)):
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            found = subprocess.run(("apt-get", *words), env=environment, capture_output=True, text=True)
            if found.returncode:
                raise ClusterError(f"apt-get {words[0]} failed: {found.stderr[-300:]}")
    finally:
        if mine:
            POLICY.unlink()


def run(words: list[str]) -> int:
    arguments = parsed(Arguments, "python -m slurm.local", words)
    cluster = Cluster(Shape(arguments.folder, nodes=arguments.nodes, port=arguments.port))
    if arguments.what != "status" and os.geteuid():
        raise ClusterError("daemons of a cluster are started by root; run this as root")
    if arguments.what == "down":
        cluster.down()
        print("stopped")
        return 0
    if arguments.what == "up":
        cluster.up()
    answers = cluster.answers()
    print(f"running; export SLURM_CONF={cluster.shape.conf}" if answers else "not running")
    return 0 if answers else 3


if __name__ == "__main__":
    sys.exit(carried_out(run, ClusterError))
