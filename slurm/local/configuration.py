"""The files of the one-machine cluster. Every setting is there for a reason that was met."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
    """Accounting, since submitit asks it; no control groups, since a container has none to give."""
    folder, last = shape.folder, shape.port + 2 + shape.nodes
    names, ports = (
        (f"n[1-{shape.nodes}]", f"[{shape.port + 3}-{last}]") if shape.nodes > 1 else ("n1", str(shape.port + 3))
    )
    return f"""\
ClusterName=onehost
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={shape.port}
SlurmUser=root
SlurmdUser=root
# Listen where the host's own name points, not on every interface.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
# How long a credential lives is also how long a requeued job is held back: well above KillWait, or its new start meets
# the old one dying on its node and the job is held for good.
AuthInfo=socket={shape.munge_socket},cred_expire=8
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=3
# Without control groups this is what ends a job that takes more memory than it asked for.
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={shape.port + 1}
AccountingStoragePass={shape.munge_socket}
AccountingStorageTRES=gres/gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
SlurmdParameters=config_overrides
GresTypes=gpu,shard
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2,requeue_delay=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=4
SlurmdTimeout=20
MinJobAge=600
MaxArraySize=1001
MaxJobCount=20000
# A node that was set down by hand stays down until it is resumed by hand.
ReturnToService=1
NodeName={names} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports} CPUs={shape.cpus} RealMemory={shape.memory_mb} \
Gres=gpu:{shape.gpus},shard:{shape.shards} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES PriorityTier=10 PreemptMode=OFF DefaultTime=60 MaxTime=INFINITE State=UP
PartitionName=low Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime=10 DefaultTime=60 MaxTime=INFINITE State=UP
"""


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
