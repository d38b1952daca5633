"""Jobs and drivers killed -9 in a real run: after `--unlock` and the same command, the SAEs are the same bytes."""

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from checkout import MATRYOSHKA, TINY, Checkout, copy_data, copy_workflow

CONFIG = TINY | {
    "trainers": [MATRYOSHKA],
    "streams": [{"name": "mask30", "p": 0.3}],
    "tables": [{"name": "table1", "model": "neox", "streams": ["mask30"], "l0": None}],
    "training": TINY["training"] | {"tokens": 64 * 800},
    # A checkpoint after each block and a row of the log for each step: slow enough to be met at work.
    "compute": TINY["compute"] | {"checkpoint_minutes": 0, "log_every": 1},
}
PUBLISHED = ("ae.pt", "config.json", "cfg.json", "sae_weights.safetensors", "SHA256SUMS", "quality.json")


@pytest.fixture(scope="module")
def start(tmp_path_factory, model_folders):
    """Makes a checkout with model, corpus and tokens, but no SAE."""
    first = Checkout(tmp_path_factory.mktemp("start"), CONFIG)
    copy_workflow(first.folder)
    copy_data(first.folder, model_folders)
    output = first.snakemake("results/tiny/neox/tokens/manifest.json")
    assert first.status == 0, output
    return first.copy_to


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory) -> dict[str, bytes]:
    checkout = start(tmp_path_factory.mktemp("uninterrupted") / "checkout")
    output = checkout.snakemake("saes")
    assert checkout.status == 0, output
    return published(checkout)


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


@pytest.mark.parametrize("victims", ["job", "driver", "driver and job"])
def test_killed_and_started_again(victims, start, uninterrupted, tmp_path):
    checkout = start(tmp_path / "checkout")
    moments = random.Random(victims)
    kills = 0
    for _ in range(3):
        driver = checkout.start("saes")
        if not wait_for_checkpoints(checkout, driver, moments.randint(1, 8)):
            break
        job = trainer_process(checkout)
        if "driver" in victims:
            kill(driver.pid)
        if "job" in victims:
            kill(job)
        driver.wait()
        kills += 1
        # A killed driver's job lives on, and the next driver's job waits for it.
        output = checkout.snakemake("saes", "--unlock")
        assert checkout.status == 0, output
    output = checkout.snakemake("saes")
    assert checkout.status == 0, output
    assert kills >= 1
    assert published(checkout) == uninterrupted
    assert checkout.planned("saes") == {}
