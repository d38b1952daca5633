"""Live curves: what TensorBoard and Weights & Biases have at the end is what training.csv has, row by row."""

import csv
import importlib.util
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from conftest import ROOT
from maskedsae.jobs.files import write_bytes
from maskedsae.report.curves import Followed
from maskedsae.saes.cells import Cell
from maskedsae.saes.learner import COLUMNS

CELLS = [Cell("tiny", "neox", "mask30", "topk", l0, 0) for l0 in (4, 8)]


EMPTY = ("l1", "masked_latents")  # columns of other kinds of trainers


def row(step: int, loss: float | None = None, seconds: float = 1.5) -> list[float | str]:
    loss = 1 / (step + 3) if loss is None else loss
    watched = [3, 4, 0.5, "", "", 0.25]
    return [step, 64 * step, loss, 8.25, 0.1, 2.5, 3, -1.0, 3e-4, *watched, 100 / seconds, seconds]


class Training:
    """Writes training.csv as `Learner` does."""

    def __init__(self, run: Path, cell: Cell):
        self.file = run.parents[1] / cell.folder / "training.csv"

    def start(self, *rows: list[float | str]) -> None:
        lines = [COLUMNS, *rows]
        write_bytes(self.file, "".join(",".join(map(str, line)) + "\n" for line in lines).encode())

    def log(self, *rows: list[float | str]) -> None:
        with open(self.file, "a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def rows(self) -> list[dict[str, float]]:
        with open(self.file, newline="") as file:
            return [{name: float(text) for name, text in line.items() if text} for line in csv.DictReader(file)]


@pytest.fixture
def run(tmp_path) -> Path:
    (tmp_path / "results/tiny").mkdir(parents=True)
    return tmp_path / "results/tiny"


class Kept:
    """Remembers what it was sent: {name of a run: its steps and losses}."""

    def __init__(self) -> None:
        self.runs: dict[str, list[tuple[int, float]]] = {}

    def open(self, cell: Cell, name: str) -> "Kept":
        self.last = self.runs[name] = []
        return self

    def send(self, step: int, row: dict[str, float]) -> None:
        assert [*row] == [name for name in COLUMNS[1:] if name not in EMPTY]
        self.last.append((step, row["loss"]))

    def close(self) -> None:
        self.last = []


def steps(kept: Kept) -> dict[str, list[int]]:
    return {name: [step for step, _ in rows] for name, rows in kept.runs.items()}


def test_a_restart_that_drops_rows_and_writes_them_again_sends_none_twice(run):
    training, kept, name = Training(run, CELLS[0]), Kept(), CELLS[0].name
    training.start()
    followed = Followed(training.file, kept.open)
    assert followed.send_new_rows() == 0 and kept.runs == {}
    training.log(row(0), row(10), row(20, float("nan")), row(30))
    assert [followed.send_new_rows(), followed.send_new_rows()] == [4, 0]
    training.start(row(0), row(10))
    assert followed.send_new_rows() == 0
    training.log(row(20, float("nan"), seconds=9.0))  # computed again, at another speed
    assert followed.send_new_rows() == 0
    training.log(row(30, seconds=9.0), row(40))
    assert followed.send_new_rows() == 1
    training.start()  # killed before its first checkpoint
    assert followed.send_new_rows() == 0
    training.log(row(0), row(10))
    assert followed.send_new_rows() == 0
    assert steps(kept) == {name: [0, 10, 20, 30, 40]}


def test_other_rows_are_another_curve(run):
    training, kept, name = Training(run, CELLS[0]), Kept(), CELLS[0].name
    training.start(row(0), row(10), row(20))
    followed = Followed(training.file, kept.open)
    assert followed.send_new_rows() == 3
    training.file.unlink()
    assert followed.send_new_rows() == 0
    training.start(row(0), row(10, 0.5))
    assert followed.send_new_rows() == 2
    training.log(row(20))
    assert followed.send_new_rows() == 1
    assert steps(kept) == {name: [0, 10, 20], f"{name}-2": [0, 10, 20]}
    assert kept.runs[f"{name}-2"][1] == (10, 0.5)


def test_a_row_that_is_not_written_whole_waits(run):
    training, kept = Training(run, CELLS[0]), Kept()
    training.start(row(0))
    followed = Followed(training.file, kept.open)
    with open(training.file, "a") as file:
        line = ",".join(map(str, row(10)))
        file.write(line[:15])
        file.flush()
        assert followed.send_new_rows() == 1
        file.write(line[15:] + "\n")
        file.flush()
        assert followed.send_new_rows() == 1
    assert kept.runs[CELLS[0].name] == [(0, 1 / 3), (10, 1 / 13)]


def curves(run: Path, *arguments: str, **environment: str) -> dict:
    """As subprocess takes it, with nothing of the user's."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    known |= {"PYTHONPATH": str(ROOT / "scripts"), "HOME": str(run.parents[1]), **environment}
    command = [sys.executable, "-m", "maskedsae.report.curves", str(run), *arguments]
    return {"args": command, "env": known, "cwd": run.parents[1], "stdin": subprocess.DEVNULL, "text": True}


def call(run: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(**curves(run, *arguments, **environment), capture_output=True, check=False)


def followed_by(run: Path, to: str, opened: str, **environment: str) -> str:
    """What the command says, which is started before the second training and before a restart of the first, and ends by
    itself. `opened`: what it makes for each SAE."""
    one, other = (Training(run, cell) for cell in CELLS)
    one.start(row(0), row(10), row(20))
    process = subprocess.Popen(**curves(run, to, "--idle", "0.05", **environment), stdout=subprocess.PIPE)
    for count in (1, 2):
        while len(list(run.parents[1].glob(opened))) < count:
            assert process.poll() is None
            time.sleep(0.1)
        if count == 1:
            other.start(row(0, 0.75), row(10, 0.5))
    one.start(row(0), row(10))
    one.log(row(20, seconds=9.0), row(30))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return said


SAID = "results/tiny: 6 rows of 2 SAEs were sent; none came for 0.05 minutes\n"
MEASURED = [name for name in COLUMNS if name not in ("step", "seconds", "tokens_per_second", *EMPTY)]


def test_tensorboard_has_the_rows_also_after_a_second_start(run):
    if not importlib.util.find_spec("tensorboard"):
        pytest.skip("no tensorboard: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert followed_by(run, "tensorboard:board", "board/tiny/*").endswith(SAID)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file()}
    for second in (False, True):
        if second:
            assert call(run, "tensorboard:board", "--idle", "0").returncode == 0
        for cell in CELLS:
            events = EventAccumulator(str(run.parents[1] / "board/tiny" / cell.name)).Reload()
            rows = Training(run, cell).rows()
            assert len(rows) == {4: 4, 8: 2}[cell.l0]
            for name in MEASURED:
                found = [(event.step, event.value) for event in events.Scalars(name)]
                assert found == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows], name
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file()} == before


def records(file: Path) -> Iterator[Record]:
    """Of an offline run: a log in LevelDB's format, blocks of 32 KiB, after 7 bytes of wandb's."""
    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        size, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or its last part
            yield Record.FromString(parts)
            parts = b""


def test_weights_and_biases_has_the_rows_offline(run):
    assert followed_by(run, "wandb:masks", "wandb/offline-run-*", WANDB_MODE="offline").endswith(SAID)
    found = {}
    for file in run.parents[1].glob("wandb/offline-run-*/*.wandb"):
        made = list(records(file))
        (about,) = [record.run for record in made if record.WhichOneof("record_type") == "run"]
        history = [record.history for record in made if record.WhichOneof("record_type") == "history"]
        assert (about.project, about.run_group) == ("masks", "tiny")
        config = {update.key: json.loads(update.value_json) for update in about.config.update}
        assert Cell(**{name: value for name, value in config.items() if name != "_wandb"}).name == about.display_name
        lines = [{"".join(item.nested_key) or item.key: item.value_json for item in line.item} for line in history]
        found[about.display_name] = [{key: json.loads(value) for key, value in line.items()} for line in lines]
    assert found.keys() == {cell.name for cell in CELLS}
    for cell in CELLS:
        rows = Training(run, cell).rows()
        assert len(rows) == {4: 4, 8: 2}[cell.l0]
        assert [line["_step"] for line in found[cell.name]] == [row["step"] for row in rows]
        for name in MEASURED:
            assert [line[name] for line in found[cell.name]] == [row[name] for row in rows]


def test_what_it_cannot_do_is_one_line(run, tmp_path):
    Training(run, CELLS[0]).start(row(0))
    for name in ("tensorboard", "wandb"):
        (tmp_path / "absent" / name).mkdir(parents=True)
        (tmp_path / "absent" / name / "__init__.py").write_text("raise ImportError\n")
    absent = f"{tmp_path / 'absent'}{os.pathsep}{ROOT / 'scripts'}"
    for to, environment, line in [
        ("tensorbord:x", {}, "tensorbord:x: is neither tensorboard:FOLDER nor wandb:PROJECT"),
        ("wandb", {}, "wandb: is neither tensorboard:FOLDER nor wandb:PROJECT"),
        ("tensorboard:x", {"PYTHONPATH": absent}, "tensorboard is not installed: .venv/bin/pip install tensorboard"),
        ("wandb:x", {"PYTHONPATH": absent}, "wandb is not installed: .venv/bin/pip install wandb"),
        (
            "wandb:x",
            {},
            "wandb:x: No API key configured. Use `wandb login` to log in: run `.venv/bin/wandb login`, or set "
            "WANDB_MODE=offline",
        ),
    ]:
        done = call(run, to, "--idle", "0", **environment)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"error: {line}\n"
    done = call(run / "neox", "wandb:x")
    assert done.stderr == f"error: {run / 'neox'}: is no run's folder: results/RUN\n"
