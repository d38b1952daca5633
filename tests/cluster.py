"""A Slurm of its own on this machine: real munged, slurmctld and slurmd, one node, two stand-in GPUs.

Everything lies in one folder and has ports of its own. Only /etc/slurm/slurm.conf is meanwhile a link to it, since
Snakemake's plugin (jobstep 0.6.1) hides SLURM_CONF from what runs in a job. Where that file exists, the machine belongs
to another Slurm, which is left alone. With accounting, there are a slurmdbd and its MariaDB too.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
NEEDED_FOR_ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb-install-db")
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
SYSTEM_CONF = Path("/etc/slurm/slurm.conf")
CPUS = 16  # more than the machine has, so that jobs wait for GPUs and not for these

# Two character devices that every Linux has stand in for GPUs: Slurm counts, hands out and takes back what is listed.
GRES = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"

# Compute nodes have no network, and whatever a job there asks a hub all the same is known by its origin.
PROLOG = """#!/bin/sh
echo export HF_ENDPOINT=http://127.0.0.1:9
echo export HF_HUB_USER_AGENT_ORIGIN=compute-node
"""

CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=10
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
{accounting}
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
MpiDefault=none
ReturnToService=2
KillWait=2
OverTimeLimit=0
MinJobAge=3600
SlurmdTimeout=300
TaskProlog={folder}/prolog.sh
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=500000 Gres=gpu:2
PartitionName=main Nodes={host} Default=YES MaxTime=24:00:00 PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=24:00:00 PriorityTier=2
"""
NO_ACCOUNTING = """
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
"""
ACCOUNTING = """
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[0]}
AccountingStoragePass={folder}/munge/socket
AccountingStoreFlags=job_comment
"""
DATABASE_DAEMON = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports[0]}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[1]}
StorageUser=slurm
StoragePass=slurm
"""
# MariaDB wants each statement on a line of its own.
DATABASE_USER = """\
CREATE USER slurm@127.0.0.1 IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO slurm@127.0.0.1;
"""


@dataclass
class Job:
    """What Slurm has on record of a job."""

    id: int
    rule: str
    state: str
    gpus: int
    began: float
    ended: float
    asked: dict[str, str]


class Cluster:
    def __init__(self, folder: Path, accounting: bool = False):
        self.folder, self.host, self.accounting = folder, socket.gethostname().split(".")[0], accounting
        self.conf = folder / "slurm.conf"
        self.daemons: dict[str, subprocess.Popen] = {}

    @staticmethod
    def missing(accounting: bool = False) -> str:
        """Why there can be none here, or nothing."""
        needed, packages = NEEDED, "slurm-wlm munge"
        if accounting:
            needed, packages = (*NEEDED, *NEEDED_FOR_ACCOUNTING), f"{packages} slurmdbd mariadb-server"
        if lacking := [name for name in needed if shutil.which(name, path=PATH) is None]:
            return f"no {', '.join(lacking)} here (on Debian: apt-get install {packages})"
        if os.geteuid() != 0:
            return "a Slurm of one's own needs root"
        if SYSTEM_CONF.exists():
            return f"this machine has a Slurm already ({SYSTEM_CONF}), which is left alone"
        return ""

    def start(self) -> None:
        for name in ("state", "spool", "munge"):
            (self.folder / name).mkdir(parents=True)
            (self.folder / name).chmod(0o755)
        (self.folder / "munge" / "key").write_bytes(os.urandom(128))
        (self.folder / "munge" / "key").chmod(0o600)
        ports = free_ports(4)
        accounting = ACCOUNTING.format(folder=self.folder, ports=ports[2:]) if self.accounting else NO_ACCOUNTING
        conf = CONF.format(
            host=self.host, folder=self.folder, ports=ports, user="root", cpus=CPUS, accounting=accounting
        )
        self.conf.write_text(conf)
        (self.folder / "gres.conf").write_text(GRES)
        (self.folder / "prolog.sh").write_text(PROLOG)
        (self.folder / "prolog.sh").chmod(0o755)
        SYSTEM_CONF.parent.mkdir(exist_ok=True)
        SYSTEM_CONF.unlink(missing_ok=True)  # a link into nothing, left by one that was killed
        SYSTEM_CONF.symlink_to(self.conf)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={self.folder}/munge/{name}" for option, name in files.items()]
        # by force: it wants a folder that all may enter, for its socket; all here is one user
        self._start("munged", "--force", "--foreground", *options)
        wait_for((self.folder / "munge" / "socket").exists, 30, "munged's socket")
        if self.accounting:
            self._start_accounting(ports[2:])
        self._start("slurmctld", "-D")
        self.start_slurmd()

    def _start_accounting(self, ports: list[int]) -> None:
        """MariaDB, slurmdbd on it, and this cluster in its books."""
        data, ready, first = (self.folder / name for name in ("mariadb", "mariadb.socket", "mariadb.sql"))
        install = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}", "--skip-test-db"]
        subprocess.run(install, check=True, capture_output=True)
        first.write_text(DATABASE_USER)
        where = [
            "--bind-address=127.0.0.1",
            f"--datadir={data}",
            f"--socket={ready}",
            f"--pid-file={data}/pid",
            f"--init-file={first}",
        ]
        self._start("mariadbd", "--no-defaults", "--user=root", *where, "--skip-name-resolve", f"--port={ports[1]}")
        wait_for(ready.exists, 60, "MariaDB")
        file = self.folder / "slurmdbd.conf"
        file.write_text(DATABASE_DAEMON.format(host=self.host, folder=self.folder, ports=ports))
        file.chmod(0o600)
        self._start("slurmdbd", "-D")
        add = ("sacctmgr", "--immediate", "add", "cluster", "tests")
        wait_for(lambda: self.ask(*add) or self.ask("sacctmgr", "-n", "show", "cluster"), 60, "slurmdbd")

    def start_slurmd(self, states: tuple[str, ...] = ("idle",)) -> None:
        self._start("slurmd", "-D")
        wait_for(lambda: self.node_state() in states, 60, f"the node ({self.folder})")

    def node_state(self) -> str:
        return self.ask("sinfo", "--noheader", "--partition=main", "--format=%T").strip()

    def _start(self, name: str, *arguments: str) -> None:
        with open(self.folder / f"{name}.out", "a") as out:
            self.daemons[name] = subprocess.Popen(
                [shutil.which(name, path=PATH), *arguments],
                env=os.environ | {"SLURM_CONF": str(self.conf)},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        self.daemons[name].kill()
        self.daemons[name].wait()

    def stop(self) -> None:
        self.ask("scancel", "--user=root")
        with suppress(TimeoutError):
            wait_for(lambda: not self.active(), 30, "its last jobs")
        for name in ("slurmd", "slurmctld", "slurmdbd", "mariadbd", "munged"):
            if name in self.daemons:
                self.daemons[name].send_signal(signal.SIGTERM)
                self.daemons[name].wait(30)
        # A job that was requeued may have left a step that Slurm no longer knows.
        for process in processes_below(self.folder.parent):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        SYSTEM_CONF.unlink(missing_ok=True)

    def ask(self, *command: str) -> str:
        """What a Slurm command answers; nothing if it fails, as while slurmctld starts."""
        done = subprocess.run(
            command,
            env=os.environ | {"SLURM_CONF": str(self.conf)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout if done.returncode == 0 else ""

    def jobs(self) -> list[Job]:
        """All jobs there ever were, by `scontrol show job`, which forgets none within MinJobAge (an hour)."""
        records = re.split(r"\n(?=JobId=)", self.ask("scontrol", "--details", "show", "job").strip())
        return [job_of(dict(re.findall(r"(\S+?)=(\S*)", record))) for record in records if record.startswith("JobId=")]

    def active(self) -> list[Job]:
        return [job for job in self.jobs() if job.state in ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED")]


def job_of(fields: dict[str, str]) -> Job:
    gpus = re.search(r"gpu(?::\w+)*:(\d+)", fields.get("JOB_GRES", ""))
    return Job(
        id=int(fields["JobId"]),
        rule=fields.get("Comment", "").removeprefix("rule_").split("_wildcards_")[0],
        state=fields["JobState"],
        gpus=int(gpus[1]) if gpus else 0,
        began=seconds(fields["StartTime"]),
        ended=seconds(fields["EndTime"]),
        asked=fields,
    )


def processes_below(folder: Path) -> list[int]:
    """Processes, but for this one and its ancestors, that were started in `folder` or below or with a path there."""
    own, process = set(), os.getpid()
    while process:
        own.add(process)
        process = parent_of(process)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            places = [os.readlink(entry / "cwd"), (entry / "cmdline").read_bytes().decode(errors="replace")]
            if int(entry.name) not in own and any(str(folder) in place for place in places):
                found.append(int(entry.name))
    return found


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def seconds(stamp: str) -> float:
    return float("inf") if stamp == "Unknown" else datetime.fromisoformat(stamp).timestamp()


def most_gpus_at_once(jobs: list[Job]) -> int:
    return max(sum(job.gpus for job in jobs if job.began <= moment.began < job.ended) for moment in jobs)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(true, timeout: float, what: str):
    """What `true` returns as soon as that is true."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if value := true():
            return value
        time.sleep(0.1)
    raise TimeoutError(f"waited {timeout:.0f} s for {what}")
