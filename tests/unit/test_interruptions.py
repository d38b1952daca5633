"""Killed anywhere, training goes on from its last checkpoint and ends with the same bytes."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from dataclasses import replace

import pytest
import torch

from conftest import COMPUTE, folders, train_settings
from maskedsae.activations.settings import Stream
from maskedsae.jobs.errors import InputError
from maskedsae.saes import checkpoints
from maskedsae.saes.training import train_cells

# Forked, so that a child is training within milliseconds and a kill finds it there, not at its imports.
FORK = multiprocessing.get_context("fork")
EVERY_BLOCK = replace(COMPUTE, checkpoint_minutes=0)
PUBLISHED = ("ae.pt", "config.json", "cfg.json", "sae_weights.safetensors", "SHA256SUMS", "quality.json")
L0S = (4, 8)
SETTINGS = train_settings(
    batch=48, tokens=12480
)  # which does not divide a block: rows are carried over in the checkpoints


@pytest.fixture(scope="module")
def uninterrupted(facts, tokens_folders, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(folder, facts, tokens_folders)
    return files(folder)


def train(folder, facts, tokens_folders, settings=SETTINGS, l0s=L0S):
    manifest = tokens_folders["gpt_neox"] / "manifest.json"
    train_cells(folders(folder, *l0s), settings, facts["gpt_neox"], manifest, EVERY_BLOCK)


def files(folder) -> dict[str, bytes]:
    found = {f"{l0}/{name}": (folder / f"l0_{l0}" / "sae" / name).read_bytes() for l0 in L0S for name in PUBLISHED}
    return found | {f"{l0}/training.csv": without_times(folder / f"l0_{l0}" / "training.csv") for l0 in L0S}


def without_times(log) -> bytes:
    """Its last two columns are the speed and the seconds."""
    return b"\n".join(line.rsplit(b",", 2)[0] for line in log.read_bytes().splitlines())


def run_and_kill(train_once, after: float) -> int:
    """The exit code of a training that is killed -9 `after` so many seconds, if it still runs then."""
    process = FORK.Process(target=train_once)
    process.start()
    process.join(after)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    return process.exitcode


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments(seed, facts, tokens_folders, tmp_path, uninterrupted):
    moments = random.Random(seed)
    kills = 0
    # Each lives a little longer than the last ones, so that a busy machine comes to the end, too.
    while run_and_kill(lambda: train(tmp_path, facts, tokens_folders), moments.uniform(0.03, 0.3 + kills / 50)) != 0:
        kills += 1
        assert kills < 200
        for l0 in L0S:  # no checkpoint is ever seen in part
            checkpoints.load(tmp_path / f"l0_{l0}" / "checkpoint" / "state.pt")
    assert kills >= 3
    assert files(tmp_path) == uninterrupted


def killed_at(call: str, number: int, run) -> None:
    """Run, and die at the `number`-th call of os.fsync or os.replace: in the midst of writing a file."""
    original, calls = getattr(os, call), 0

    def deadly(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(os, call, deadly)
    run()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_killed_while_writing(call, facts, tokens_folders, tmp_path, uninterrupted):
    """At the first write, then one write further in each run, through checkpoints, training.csv and the SAE's files."""
    deaths = 0
    while True:
        run = FORK.Process(target=killed_at, args=(call, deaths + 1, lambda: train(tmp_path, facts, tokens_folders)))
        run.start()
        run.join(300)
        if run.exitcode == 0:
            break
        assert run.exitcode == -signal.SIGKILL
        deaths += 1
    assert deaths > 15  # the SAE's files alone are 16 writes
    assert files(tmp_path) == uninterrupted


def test_killed_in_mixed_precision(facts, tokens_folders, tmp_path, monkeypatch):
    """What a GPU runs, on a CPU: bfloat16 under autocast, where the Matryoshka trainer's b_dec changes its dtype."""
    monkeypatch.setattr("maskedsae.saes.training.check_device", lambda device, autocast: None)
    settings = train_settings(autocast="bfloat16")
    # Each run in a child: oneDNN, which does bfloat16 on a CPU, hangs in a child forked after it was used.
    assert run_and_kill(lambda: train(tmp_path / "whole", facts, tokens_folders, settings), 120) == 0
    for number in (10, 25):
        run_and_kill(
            lambda n=number: killed_at("replace", n, lambda: train(tmp_path, facts, tokens_folders, settings)), 60
        )
    assert 0 < checkpoints.load(tmp_path / "l0_4" / "checkpoint" / "state.pt")["step"] < 100
    assert run_and_kill(lambda: train(tmp_path, facts, tokens_folders, settings), 120) == 0
    assert torch.load(tmp_path / "l0_4" / "sae" / "ae.pt")["b_dec"].dtype == torch.bfloat16
    assert files(tmp_path) == files(tmp_path / "whole")


def test_two_at_once_write_one_after_the_other(facts, tokens_folders, tmp_path, uninterrupted):
    """As when a new driver submits a job whose predecessor still runs."""
    processes = [FORK.Process(target=train, args=(tmp_path, facts, tokens_folders)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert files(tmp_path) == uninterrupted


def test_sets_that_overlap_after_a_change_of_the_grid_agree(facts, tokens_folders, tmp_path, uninterrupted):
    """l0 = 4 was trained half way alone; then together with 8, which starts from the beginning."""
    run_and_kill(lambda: train(tmp_path, facts, tokens_folders, l0s=(4,)), 0.25)
    train(tmp_path, facts, tokens_folders)
    assert files(tmp_path) == uninterrupted


def half_trained(folder, facts, tokens_folders):
    run_and_kill(lambda: killed_at("replace", 20, lambda: train(folder, facts, tokens_folders)), 60)
    path = folder / "l0_4" / "checkpoint" / "state.pt"
    assert path.exists()
    return path


@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied"])
def test_a_damaged_checkpoint_is_named(damage, facts, tokens_folders, tmp_path):
    path = half_trained(tmp_path, facts, tokens_folders)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"truncated": content[: len(content) // 2], "altered": content, "emptied": b""}[damage])
    with pytest.raises(InputError, match=r"state\.pt: this checkpoint is truncated or altered"):
        train(tmp_path, facts, tokens_folders)


def test_a_checkpoint_of_other_settings_is_not_used(facts, tokens_folders, tmp_path, uninterrupted, caplog):
    caplog.set_level("INFO", logger="maskedsae")
    half_trained(tmp_path, facts, tokens_folders)
    other = replace(SETTINGS, stream=Stream.from_plain({"name": "mask30", "p": 0.5}))
    train(tmp_path, facts, tokens_folders, settings=other)
    assert "its checkpoint was made with other settings (stream.corruption.p): starting over" in caplog.text
    assert list((tmp_path / "l0_4" / "checkpoint").glob("state_of_other_settings_at_step_*.pt"))
    assert files(tmp_path) != uninterrupted


def test_a_damaged_token_shard_is_named(facts, tokens_folders, tmp_path):
    shutil.copytree(tokens_folders["gpt_neox"], tmp_path / "tokens")
    shard = tmp_path / "tokens" / "train_00000.npy"
    content = bytearray(shard.read_bytes())
    content[-7] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"train_00000\.npy was altered"):
        train(tmp_path, facts, {"gpt_neox": tmp_path / "tokens"})


def test_a_finished_cell_is_written_again_without_training(facts, tokens_folders, tmp_path, uninterrupted):
    """As when the driver died before it could note that the job was done: Snakemake runs the job again."""
    train(tmp_path, facts, tokens_folders)
    for l0 in L0S:
        for name in PUBLISHED:
            (tmp_path / f"l0_{l0}" / "sae" / name).unlink()
    began = time.monotonic()
    train(tmp_path, facts, tokens_folders)
    assert files(tmp_path) == uninterrupted
    assert time.monotonic() - began < 5
