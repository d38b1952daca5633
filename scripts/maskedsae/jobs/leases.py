"""One writer per folder: a file that names the process that writes there. Processes may run on different machines.

Not an advisory lock: those are silently local on some cluster file systems. A holder touches its lease; a lease that
was not touched for a while, or whose process on this machine has ended, is taken over. A holder that was paused so
long that it lost its lease notices before it writes (`check`) and stops.
"""

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from .log import log

TOUCHED_EVERY = 15.0
# Ten missed touches: longer than a network file system's attribute cache (by default 60 s at most) can hide a touch.
STALE_AFTER = 150.0


Holder = dict[str, Any]  # the process that holds a lease, as the lease file has it


class LeaseLost(RuntimeError):
    pass


class Lease:
    def __init__(self, folder: str | Path, touched_every: float = TOUCHED_EVERY, stale_after: float = STALE_AFTER):
        self.path = Path(folder) / "lease.json"
        self.token = uuid.uuid4().hex
        self.touched_every, self.stale_after = touched_every, stale_after
        self._released = threading.Event()

    def __enter__(self) -> "Lease":
        logged = 0.0
        while not self._claim():
            holder = self._read(self.path)
            if holder and self._abandoned(holder):
                self._evict(holder)
                time.sleep(0.01)
                continue
            if holder and time.monotonic() - logged > 60:
                logged = time.monotonic()
                log.info("waiting: process %s on %s works on %s", holder["pid"], holder["host"], self.path.parent)
            time.sleep(min(1.0, self.touched_every))
        threading.Thread(target=self._touch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        if (self._read(self.path) or {}).get("token") == self.token:
            self.path.unlink(missing_ok=True)

    def check(self) -> None:
        """Call this before each write that other processes may see."""
        if (self._read(self.path) or {}).get("token") != self.token:
            raise LeaseLost(f"{self.path}: another process took over, so this one stops without writing")

    def _claim(self) -> bool:
        me = {
            "token": self.token,
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
        }
        draft = self.path.with_name(f".lease.{self.token}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(me))
            os.link(draft, self.path)  # atomic, and fails where a lease exists, on network file systems too
            return True
        except (FileExistsError, FileNotFoundError):  # taken, or the last holder has just removed the empty folder
            if self.path.parent.is_file():
                raise
            return False
        finally:
            draft.unlink(missing_ok=True)

    def _abandoned(self, holder: Holder) -> bool:
        if holder["machine"] == _machine() and _started(holder["pid"]) != holder["started"]:
            log.info("%s: process %s has ended: taking over", self.path.parent, holder["pid"])
            return True
        idle = self._idle(self.path)
        if idle > self.stale_after:
            log.info("%s: its lease was last touched %.0f s ago: taking over", self.path.parent, idle)
        return idle > self.stale_after

    def _evict(self, holder: Holder) -> None:
        """Remove an abandoned lease, one process at a time: a second could remove the lease that the first takes."""
        guard = self.path.with_name(".evicting")
        try:
            os.close(os.open(guard, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            if self._idle(guard) > self.stale_after:  # left by a process that was killed here
                guard.unlink(missing_ok=True)
            return
        except FileNotFoundError:  # not abandoned after all: its holder has finished and removed the folder
            return
        if (self._read(self.path) or {}).get("token") == holder["token"]:
            self.path.unlink(missing_ok=True)
        guard.unlink(missing_ok=True)

    def _idle(self, path: Path) -> float:
        """Seconds since `path` was touched, by the file system's clock, which may differ from this machine's."""
        clock = self.path.with_name(f".clock.{self.token}")
        try:
            clock.touch()
            return clock.stat().st_mtime - path.stat().st_mtime
        except FileNotFoundError:
            return 0.0
        finally:
            clock.unlink(missing_ok=True)

    def _touch(self) -> None:
        while not self._released.wait(self.touched_every):
            with suppress(OSError):  # evicted, or the disk is briefly unavailable: `check` decides
                if (self._read(self.path) or {}).get("token") == self.token:
                    os.utime(self.path)

    @staticmethod
    def _read(path: Path) -> Holder | None:
        try:
            holder: Holder = json.loads(path.read_text())
            return holder
        except (FileNotFoundError, json.JSONDecodeError):
            return None


def _machine() -> str:
    """This boot of this machine and this container, within which a process id means one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """When process `pid` of this machine started (field 22 of /proc/PID/stat), which tells it from a later process of
    the same id; None if there is no such process. On systems other than Linux, only whether it exists."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        if Path("/proc").is_dir():
            return None
    try:
        os.kill(pid, 0)
        return "running"
    except ProcessLookupError:
        return None
    except PermissionError:
        return "running"
