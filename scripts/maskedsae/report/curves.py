"""Live curves: passes the rows of a run's training.csv files on to TensorBoard or Weights & Biases while they grow.

    python -m maskedsae.report.curves results/paper tensorboard:FOLDER
    python -m maskedsae.report.curves results/paper wandb:PROJECT

A process of its own that only reads, so it cannot touch or stop a training.
"""

import argparse
import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ..jobs.errors import InputError, first_line
from ..saes.cells import Cell

FILES = "*/*/*/l0_*/seed_*/training.csv"  # of a run's cells
OF_THE_MACHINE = ("tokens_per_second", "seconds")  # these differ when a row is computed again
Row = dict[str, float]  # without the columns that the trainer leaves empty


class Curve(Protocol):
    """One SAE's run, where it is shown."""

    def send(self, step: int, row: Row) -> None: ...

    def close(self) -> None: ...


Open = Callable[[Cell, str], Curve]  # (cell, the run's name)


class Followed:
    """A training.csv, and what of it was sent."""

    def __init__(self, file: Path, open_curve: Open):
        self.file, self.open = file, open_curve
        self.cell = Cell.parse(file.absolute())
        self.sent: list[Row] = []
        self.curve: Curve | None = None
        self.curves = self.rows = 0
        self.seen: tuple[int, int] | None = None  # size and time of the file when it was last read

    def send_new_rows(self) -> int:
        """How many there were. Rows that training wrote again after a restart are known; others start another curve."""
        try:
            status = self.file.stat()
            seen = (status.st_size, status.st_mtime_ns)
            rows = [] if seen == self.seen else read_rows(self.file)
        except FileNotFoundError:  # Snakemake removes it before it trains the SAE anew
            return 0
        self.seen = seen
        if any(not same(*pair) for pair in zip(self.sent, rows, strict=False)):
            self.close()
            self.sent = []
        new = rows[len(self.sent) :]
        if new and self.curve is None:
            self.curves += 1
            self.curve = self.open(self.cell, self.cell.name + (f"-{self.curves}" if self.curves > 1 else ""))
        for row in new:
            assert self.curve is not None
            self.curve.send(int(row["step"]), {name: value for name, value in row.items() if name != "step"})
        self.sent += new
        self.rows += len(new)
        return len(new)

    def close(self) -> None:
        if self.curve is not None:
            self.curve.close()
            self.curve = None


def read_rows(file: Path) -> list[Row]:
    """Those that are written whole."""
    whole, _, _ = file.read_text().rpartition("\n")
    return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(whole.splitlines())]


def same(sent: Row, found: Row) -> bool:
    """NaN is equal to itself here."""
    names = (sent.keys() | found.keys()).difference(OF_THE_MACHINE)
    return all(repr(sent.get(name)) == repr(found.get(name)) for name in names)


def follow(run: Path, open_curve: Open, idle: float, every: float = 5) -> None:
    """Until no row has come for `idle` seconds."""
    followed: dict[Path, Followed] = {}
    try:
        last = time.monotonic()
        while True:
            for file in sorted(run.glob(FILES)):
                if file not in followed:
                    followed[file] = Followed(file, open_curve)
            if sum([known.send_new_rows() for known in followed.values()]):
                last = time.monotonic()
            if time.monotonic() - last >= idle:
                rows = sum(known.rows for known in followed.values())
                print(f"{run}: {rows:,} rows of {len(followed)} SAEs were sent; none came for {idle / 60:g} minutes")
                return
            time.sleep(min(every, idle))
    finally:
        for known in followed.values():
            known.close()


def tensorboard(folder: str, run: Path) -> Open:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("tensorboard is not installed: .venv/bin/pip install tensorboard") from None

    class Board:
        def __init__(self, cell: Cell, name: str):
            # What another start of this command wrote here is replaced: readers then drop its rows.
            self.writer = SummaryWriter(str(Path(folder, run.name, name)), purge_step=0, flush_secs=5)

        def send(self, step: int, row: Row) -> None:
            for name, value in row.items():
                self.writer.add_scalar(name, value, step)

        def close(self) -> None:
            self.writer.close()

    return Board


def wandb(project: str, run: Path) -> Open:
    try:
        import wandb as client
    except ImportError:
        raise InputError("wandb is not installed: .venv/bin/pip install wandb") from None

    # It looks at this process, whose console, code and load say nothing about the training.
    quiet = client.Settings(console="off", disable_git=True, x_disable_stats=True, x_disable_meta=True, silent=True)

    class Project:
        def __init__(self, cell: Cell, name: str):
            known: dict[str, Any] = vars(cell)
            try:
                self.run = client.init(
                    project=project, group=run.name, name=name, config=known, reinit="create_new", settings=quiet
                )
            except client.errors.Error as error:
                why = first_line(error).rstrip(".")
                raise InputError(
                    f"wandb:{project}: {why}: run `.venv/bin/wandb login`, or set WANDB_MODE=offline"
                ) from error

        def send(self, step: int, row: Row) -> None:
            self.run.log(row, step=step)

        def close(self) -> None:
            self.run.finish()

    return Project


SHOWN_BY = {"tensorboard": tensorboard, "wandb": wandb}


def opener(to: str, run: Path) -> Open:
    kind, _, where = to.partition(":")
    if kind not in SHOWN_BY or not where:
        raise InputError(f"{to}: is neither tensorboard:FOLDER nor wandb:PROJECT")
    if not run.is_dir() or run.absolute().parent.name != "results":
        raise InputError(f"{run}: is no run's folder: results/RUN")
    return SHOWN_BY[kind](where, run)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m maskedsae.report.curves", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the run's folder, results/RUN")
    parser.add_argument("to", help="tensorboard:FOLDER or wandb:PROJECT")
    parser.add_argument("--idle", type=float, default=60, help="minutes without a new row after which it ends (60)")
    given = parser.parse_args(arguments)
    try:
        follow(given.run, opener(given.to, given.run), 60 * given.idle)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the training goes on", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
