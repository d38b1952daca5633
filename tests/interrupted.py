"""One stream's SAEs, for runs that are interrupted on purpose, and what must come out of them all the same."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from checkout import TINY, Checkout
from conftest import MATRYOSHKA

CONFIG = TINY | {
    "trainers": [MATRYOSHKA],
    "streams": [{"name": "mask30", "p": 0.3}],
    "tables": [{"name": "table1", "model": "neox", "streams": ["mask30"], "l0": None}],
    "training": TINY["training"] | {"tokens": 64 * 800},
    # A checkpoint after each block and a row of the log for each step: slow enough to be met at work.
    "compute": TINY["compute"] | {"checkpoint_minutes": 0, "log_every": 1},
}
PUBLISHED = ("ae.pt", "config.json", "cfg.json", "sae_weights.safetensors", "SHA256SUMS", "quality.json")


def cell(checkout: Checkout, l0: int) -> Path:
    return checkout.folder / f"results/tiny/neox/mask30/{MATRYOSHKA}/l0_{l0}/seed_0"


def published(checkout: Checkout) -> dict[str, bytes]:
    return {f"{l0}/{name}": (cell(checkout, l0) / "sae" / name).read_bytes() for l0 in (4, 8) for name in PUBLISHED}


def wait_for_checkpoints(checkout: Checkout, driver: subprocess.Popen, count: int) -> bool:
    """Wait until the job has written so many checkpoints; False if the driver ends before."""
    path, seen = cell(checkout, 4) / "checkpoint" / "state.pt", set()
    before = path.stat().st_mtime_ns if path.exists() else None
    while driver.poll() is None:
        with suppress(FileNotFoundError):
            seen.add(path.stat().st_mtime_ns)
        if len(seen - {before}) >= count:
            return True
        time.sleep(0.005)
    return False


def trainer_process(checkout: Checkout) -> int:
    return json.loads((cell(checkout, 4) / "checkpoint" / "lease.json").read_text())["pid"]


def kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
