"""The cell: one SAE that the grid trains; and an SAE of section `saes`. Nothing else spells their paths or names."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


class Placed:
    """An SAE that has a folder and a name."""

    FOLDER: ClassVar[str]  # with wildcards, as rules have them
    NAME: ClassVar[str]

    @property
    def folder(self) -> Path:
        return Path(self.FOLDER.format(**vars(self)))

    @property
    def name(self) -> str:
        """The name of its logs and jobs, unique within its run."""
        return self.NAME.format(**vars(self))


@dataclass(frozen=True, order=True)
class Cell(Placed):
    run: str
    model: str
    stream: str
    trainer: str
    l0: int  # nominal
    seed: int

    FOLDER: ClassVar[str] = "results/{run}/{model}/{stream}/{trainer}/l0_{l0}/seed_{seed}"
    NAME: ClassVar[str] = "{model}_{stream}_{trainer}_l0_{l0}_seed_{seed}"

    @property
    def words(self) -> str:
        """For log lines."""
        return f"{self.model} {self.stream} {self.trainer} l0 {self.l0} seed {self.seed}"

    @classmethod
    def parse(cls, path: str | Path) -> "Cell":
        """The cell of a path: its folder, or anything in it."""
        found = _IN_A_PATH.search(Path(path).as_posix())
        if not found:
            raise ValueError(f"{path}: not in a cell's folder ({cls.FOLDER})")
        run, model, stream, trainer, l0, seed = found.groups()
        return cls(run, model, stream, trainer, int(l0), int(seed))


@dataclass(frozen=True, order=True)
class Imported(Placed):
    """An SAE of section `saes`: it was not trained here, or not like a cell. Where only the folder and the words for an
    SAE are needed, it stands in for a cell."""

    run: str
    model: str
    sae: str  # its name in the configuration

    FOLDER: ClassVar[str] = "results/{run}/{model}/imported/{sae}"
    NAME: ClassVar[str] = "{model}_imported_{sae}"

    @property
    def words(self) -> str:
        """For log lines."""
        return f"{self.model} imported {self.sae}"

    @classmethod
    def parse(cls, path: str | Path) -> "Imported":
        """The SAE of a path: its folder, or anything in it."""
        found = _IMPORTED.match(Path(path).as_posix())
        if not found:
            raise ValueError(f"{path}: not in an imported SAE's folder ({cls.FOLDER})")
        return cls(*found.groups())


_IN_A_PATH = re.compile(r"(?:.*/)?results/([^/]+)/([^/]+)/([^/]+)/([^/]+)/l0_(\d+)/seed_(\d+)(?:/|$)")
# `imported` is no stream's name (experiment/checks.py).
_IMPORTED = re.compile(r"(?:.*/)?results/([^/]+)/([^/]+)/imported/([^/]+)(?:/|$)")


def sae_of(path: str | Path) -> Cell | Imported:
    """The SAE of a path: its folder, or anything in it."""
    return Imported.parse(path) if _IMPORTED.match(Path(path).as_posix()) else Cell.parse(path)


def joint_name(cells: Sequence[Cell]) -> str:
    """The name of cells that are trained together: all combinations of some trainers, l0s and seeds of one stream."""

    def joined(values: Iterable[object], by: str = "-") -> str:
        return by.join(map(str, dict.fromkeys(values)))

    return Cell.NAME.format(
        model=cells[0].model,
        stream=cells[0].stream,
        trainer=joined((cell.trainer for cell in cells), "-and-"),
        l0=joined(cell.l0 for cell in cells),
        seed=joined(cell.seed for cell in cells),
    )
