"""One writer per cell."""

import json
import multiprocessing
import os
import signal
import socket
import time
from contextlib import suppress

import pytest

from maskedsae.jobs.leases import Lease, LeaseLost, _machine

FORK = multiprocessing.get_context("fork")


def hold(folder, entered, seconds):
    with Lease(folder):
        entered.set()
        time.sleep(seconds)


def start_holder(folder, seconds):
    entered = FORK.Event()
    process = FORK.Process(target=hold, args=(folder, entered, seconds))
    process.start()
    assert entered.wait(10)
    return process


def foreign_lease(folder, age: float) -> None:
    """What a process on another machine leaves, last touched `age` seconds ago."""
    path = folder / "lease.json"
    path.write_text(json.dumps({"token": "other", "host": "elsewhere", "machine": "another", "pid": 1, "started": "1"}))
    os.utime(path, (time.time() - age, time.time() - age))


def test_the_second_waits_until_the_first_is_done(tmp_path):
    process = start_holder(tmp_path, 1.0)
    began = time.monotonic()
    with Lease(tmp_path, touched_every=0.1):
        assert time.monotonic() - began > 0.5
        assert not process.is_alive() or process.join(5) is None


def test_a_killed_holder_on_this_machine_is_replaced_at_once(tmp_path):
    process = start_holder(tmp_path, 60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    began = time.monotonic()
    with Lease(tmp_path):
        assert time.monotonic() - began < 2


def test_a_holder_elsewhere_is_replaced_only_when_its_lease_is_stale(tmp_path):
    foreign_lease(tmp_path, age=0)
    began = time.monotonic()
    with Lease(tmp_path, touched_every=0.1, stale_after=1.5):
        assert time.monotonic() - began > 1


def test_a_held_lease_does_not_become_stale(tmp_path):
    with Lease(tmp_path, touched_every=0.05) as lease:
        time.sleep(0.5)
        assert time.time() - lease.path.stat().st_mtime < 0.3


def test_a_holder_that_was_replaced_stops_before_it_writes(tmp_path):
    with Lease(tmp_path) as lease:
        lease.check()
        foreign_lease(tmp_path, age=0)
        with pytest.raises(LeaseLost, match="another process took over"):
            lease.check()
    assert json.loads((tmp_path / "lease.json").read_text())["host"] == "elsewhere"


def test_a_reused_process_number_is_not_the_holder(tmp_path):
    """This very process, but with another start time: as after a reboot."""
    me = {"token": "old", "host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "started": "1"}
    (tmp_path / "lease.json").write_text(json.dumps(me))
    with Lease(tmp_path) as lease:
        lease.check()


def count_up(folder, rounds):
    """A read, a pause and a write: increments are lost if two do it at once."""
    for _ in range(rounds):
        with Lease(folder, touched_every=0.01):
            counter = folder / "counter"
            value = int(counter.read_text())
            time.sleep(0.001)
            counter.write_text(str(value + 1))


def test_many_that_compete_for_a_stale_lease_never_hold_it_together(tmp_path):
    (tmp_path / "counter").write_text("0")
    foreign_lease(tmp_path, age=1000)
    processes = [FORK.Process(target=count_up, args=(tmp_path, 10)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / "counter").read_text() == "80"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter"]


def come_and_go(folder, rounds):
    for _ in range(rounds):
        with Lease(folder, touched_every=0.001):
            pass
        with suppress(OSError):
            folder.rmdir()


def test_a_holder_may_remove_the_empty_folder_while_others_wait(tmp_path):
    processes = [FORK.Process(target=come_and_go, args=(tmp_path / "cell" / "work", 50)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert not (tmp_path / "cell" / "work").exists()
