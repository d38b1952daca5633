"""GPUs of its own for each job, on a machine where no cluster hands them out.

A job holds the kernel's lock (flock) of one file per GPU. A lease (leases.py) would serve other machines too, but a GPU
has one machine; and the kernel takes a lock back at once when the job and every process that it forked have ended, by
kill -9 too. (A process that the job starts anew, by exec, does not hold it.)
"""

import fcntl
import os
import re
import subprocess
import time
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from .errors import InputError
from .log import log

# All users and all checkouts of the machine meet here. Not TMPDIR: two shells may differ in it.
LOCKS = Path("/tmp")
VISIBLE = "CUDA_VISIBLE_DEVICES"
SECONDS_BETWEEN_LINES = 60


@dataclass(frozen=True)
class Gpu:
    name: str  # as CUDA_VISIBLE_DEVICES takes it
    shown: str
    lock: Path


def hold_gpus(count: int) -> None:
    """Wait until `count` GPUs are free, hold them until this process ends, and make CUDA see no others.

    Call it before anything that may start CUDA. Only GPUs that CUDA_VISIBLE_DEVICES names are taken, if it is set. What
    Slurm gave to a job is the job's own, unless it is more than the job asked for: then several jobs share it.
    """
    visible = os.environ.get(VISIBLE)
    if "SLURM_JOB_ID" in os.environ and (visible is None or len(_named(visible)) <= count):
        return
    gpus = usable_gpus(visible)
    if not gpus:
        log.info("this job holds no GPU: %s names none", "nvidia-smi" if visible is None else VISIBLE)
        return
    if count > len(gpus):
        raise InputError(f"resources: this job asks for gpu: {count}, and {len(gpus)} can be used here: ask for fewer")
    said = -float(SECONDS_BETWEEN_LINES)
    while not (held := _try_to_hold(gpus, count)):
        if time.monotonic() - said >= SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            log.info("waiting for a GPU: %s", "; ".join(f"{gpu.shown} is held by {_holder(gpu)}" for gpu in gpus))
        # Not in step with others: two jobs that want two each could take one each, again and again.
        time.sleep(0.5 + os.getpid() % 100 / 100)
    os.environ[VISIBLE] = ",".join(gpu.name for gpu in held)
    log.info("this job's GPU: %s", ", ".join(gpu.shown for gpu in held))


def usable_gpus(visible: str | None) -> list[Gpu]:
    """Those of CUDA_VISIBLE_DEVICES, or all of the machine. CUDA itself is not asked: then no fork could use it."""
    uuids = _uuids()
    if visible is None:
        return [Gpu(uuid, f"{number} ({uuid})", _lock(uuid)) for number, uuid in enumerate(uuids)]
    locks = {_lock(_uuid(name, uuids)): name for name in _named(visible)}
    return [Gpu(name, name, lock) for lock, name in locks.items()]


def _named(visible: str) -> list[str]:
    """CUDA too reads up to the first name that is none, such as -1."""
    return list(takewhile(re.compile(r"\d+$|GPU-|MIG-").match, (name.strip() for name in visible.split(","))))


def _uuid(name: str, uuids: list[str]) -> str:
    """What all jobs call this GPU, however CUDA_VISIBLE_DEVICES names it: by number, or by a UUID's beginning.

    CUDA may number GPUs of different models in another order than nvidia-smi. Jobs that go by numbers then still hold
    different GPUs, but may share one with a job that goes by UUIDs.
    """
    if name.isdigit():
        return uuids[int(name)] if int(name) < len(uuids) else name
    return next((uuid for uuid in uuids if uuid.startswith(name)), name)


def _uuids() -> list[str]:
    """Of the GPUs of this machine, in the order of their numbers; none where there is no NVIDIA driver."""
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return re.findall(r"^GPU-\S+$", listed, re.MULTILINE)


def _lock(uuid: str) -> Path:
    return LOCKS / f"maskedsae-{uuid.replace('/', '-')}.lock"


def _try_to_hold(gpus: list[Gpu], count: int) -> list[Gpu]:
    """`count` of them that were free, or none."""
    held: dict[Gpu, int] = {}
    for gpu in gpus:
        if len(held) < count and (file := _locked(gpu.lock)) is not None:
            held[gpu] = file
    if len(held) == count:
        return list(held)
    for file in held.values():
        os.close(file)
    return []


def _locked(path: Path) -> int | None:
    """The open file, which holds the lock as long as any process has it open; None if another has it."""
    try:
        file = _open(path)
    except PermissionError:  # another user has just made it, and not yet opened it to all
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_ino == path.stat().st_ino:
            # For those who wait. It also makes the file young again: /tmp is cleaned of old ones.
            os.ftruncate(file, 0)
            os.pwrite(file, f"process {os.getpid()}".encode(), 0)
            return file
    except (BlockingIOError, FileNotFoundError):  # held, or cleaned away since it was opened
        pass
    os.close(file)
    return None


def _open(path: Path) -> int:
    """Open for all users of the machine. Linux refuses O_CREAT where another user has the file in /tmp."""
    flags = os.O_RDWR | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        file = os.open(path, flags | os.O_CREAT)
        if os.fstat(file).st_uid == os.geteuid():
            os.fchmod(file, 0o666)  # whatever the umask
        return file


def _holder(gpu: Gpu) -> str:
    try:
        return gpu.lock.read_text() or "another job"
    except OSError:
        return "another job"
