"""What every entry script shares: its settings, its log, and how it ends."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from .compute import Compute
from .errors import InputError
from .gpus import hold_gpus
from .log import log
from .params import settings_of
from .typed import read

T = TypeVar("T")


class Entry:
    """What Snakemake hands to a script, as typed values."""

    def __init__(self, given: Any):
        self._given = given

    def settings(self, cls: type[T]) -> T:
        """The rule's settings, which its result depends on."""
        return settings_of(cls, self._given.params.settings)

    @cached_property
    def compute(self) -> Compute:
        """How to compute. The result does not depend on it, so it is no param, and a change of it reruns nothing."""
        return read(Compute, self._given.config["compute"])


@contextmanager
def job(given: Any, *, fetches: bool = False) -> Iterator[Entry]:
    """Log to the job's file and to the terminal; an error that the user can fix ends the job with one line.

    Only a job that `fetches` may ask the hub: on a compute node without a network, each question would cost a time-out.

    Entry scripts import what they call inside this context, so that a failed import is logged too, and so that nothing
    starts CUDA before the job has its GPU.
    """
    if not fetches:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read by the hub's client when it is imported
    log_file = Path(given.log[0])
    log_file.parent.mkdir(parents=True, exist_ok=True)
    formatter = logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for handler in (logging.FileHandler(log_file, mode="a"), logging.StreamHandler(sys.stderr)):
        handler.setFormatter(formatter)
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))  # unwinds, so that leases are released
    try:
        if gpus := given.resources.get("gpu"):
            hold_gpus(gpus)
        yield Entry(given)
    except InputError as error:
        log.error("error: %s", error)
        sys.exit(1)
    except Exception:
        log.exception("failed")
        sys.exit(1)
