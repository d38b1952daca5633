"""One eval in a process of its own, forked so that torch, transformers and the language model are loaded once.

A process cannot use CUDA if its parent asked, before the fork, whether there is a GPU; and a pool of threads does not
survive a fork (a child that needs it waits for ever), so the parent computes with one thread. SAEBench's evals and
SAELens ask for a GPU when they are imported, so only children import them (0.5 s each); `start_scoring` makes sure that
nothing else has asked.

A child has its own working folder. It sends its outcome (through a pipe, since the disk may be what failed) or is
killed; the parent reports which.
"""

import ctypes
import errno
import gc
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ...jobs.device import check_device, hide_gpus, set_threads
from ...jobs.errors import InputError, first_line
from ...jobs.log import log
from ...jobs.progress import SECONDS_BETWEEN_LINES

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # as malloc.h numbers them
LAST_LINES = 12  # of a child's output, shown when it fails

Work = Callable[[], Any]


def run_child(folder: Path, output: Path, what: str, work: Work) -> Any:
    """Run `work` in a fork, in the folder `folder`, with its output in the file `output`; its result."""
    # The child's garbage collector then skips existing objects: 0.35 s for each gc.collect() of SAEBench.
    gc.freeze()
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(folder, output, work, sending), daemon=True)
    process.start()
    sending.close()
    try:
        outcome = _received(receiving, what, output)
        process.join()
    finally:
        if process.is_alive():  # this process is being stopped
            process.kill()
            process.join()
    if outcome is None:
        assert process.exitcode is not None  # it was joined
        raise InputError(f"{what}: {_killed(process.exitcode)}; its last lines are in {output}")
    if "error" in outcome:
        for line in output.read_text(errors="replace").splitlines()[-LAST_LINES:]:
            log.info("  %s", line)
        raise InputError(f"{what}: {outcome['error']} (its whole output: {output})")
    return outcome["result"]


def start_scoring(device: str, threads: int) -> None:
    """The first call of a child that scores, before it imports SAEBench."""
    check_device(device)
    if device == "cpu":
        hide_gpus()  # SAEBench's absorption computes in bfloat16, on the GPU, where it sees one
    set_threads(threads)


def check_device_apart(folder: Path, what: str, device: str) -> None:
    """In a child, before the language model is loaded, so that the parent does not ask for a GPU."""

    def problem() -> str:
        try:
            check_device(device)
        except InputError as error:
            return str(error)
        return ""

    if device != "cpu":
        output = (folder / "device.txt").absolute()
        line = run_child(folder.absolute(), output, what, problem)
        output.unlink()
        if line:
            raise InputError(line)


def keep_freed_memory() -> None:
    """Reuse freed memory instead of returning it to the system. Getting it back page by page took up to a third of an
    eval's time on a CPU (encodings of tens of megabytes, batch after batch); keeping it takes up to a third more
    memory."""
    with suppress(AttributeError, OSError):  # another C library than GNU's
        ctypes.CDLL(None).mallopt(M_MMAP_MAX, 0)
        ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _received(pipe: Connection, what: str, output: Path) -> dict[str, Any] | None:
    began = time.monotonic()
    while not pipe.poll(SECONDS_BETWEEN_LINES):
        log.info("%s: running for %.0f s%s", what, time.monotonic() - began, _last_line(output))
    try:
        outcome: dict[str, Any] = pipe.recv()
        return outcome
    except EOFError:
        return None


def _last_line(output: Path) -> str:
    """What the child printed last, usually SAEBench's progress bar."""
    lines = output.read_text(errors="replace").replace("\r", "\n").split("\n") if output.exists() else []
    return next((f": {line.strip()[:100]}" for line in reversed(lines) if line.strip()), "")


def _killed(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL): most likely memory ran out: give the rule more mem_mb"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code} before it was done"


def _child(folder: Path, output: Path, work: Work, pipe: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with(os.getppid())
    out = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    sys.stdout.flush(), sys.stderr.flush()
    os.dup2(out, 1), os.dup2(out, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.chdir(folder)
    # Libraries write to these places by default.
    os.environ |= {"HOME": str(folder), "TMPDIR": str(folder), "MPLCONFIGDIR": str(folder), "TQDM_MININTERVAL": "10"}
    try:
        outcome: dict[str, Any] = {"result": work()}
    except Exception as error:
        traceback.print_exc()
        outcome = {"error": _in_words(error, folder)}
    pipe.send(outcome)


def _in_words(error: Exception, folder: Path) -> str:
    if isinstance(error, InputError):
        return str(error)
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or shutil.disk_usage(folder).free < 2**20:
        return f"no space left on the disk of {folder}: free some and start again"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory ran out: lower the models' lm_batch or the evals' sae_batch_size"
    line = first_line(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    if "dataset" in where.filename:  # a class with too few rows ends in a KeyError or a bare assertion
        line += ": most likely the evaluation data has too few rows of a class for the set sizes asked for"
    return f"{type(error).__name__} in {Path(where.filename).name} line {where.lineno}: {line}"


def _end_with(parent: int) -> None:
    """End this process when its parent is killed; otherwise it would go on using the GPU."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
