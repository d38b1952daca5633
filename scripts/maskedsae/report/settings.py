"""What a figure and the page depend on, besides the files that they show."""

from dataclasses import dataclass
from typing import Any

from ..inference.settings import Shown


@dataclass(frozen=True)
class FigureSettings:
    figure: str
    trainer: str
    ks: tuple[int, ...]
    shown: Shown
    code: dict[str, str]


@dataclass(frozen=True)
class StepSettings:
    """A step of the work: its name, the GPUs that each of its jobs holds, and its records."""

    words: str
    gpus: int
    files: tuple[str, ...]  # its jobs' benchmark files
    provenance: tuple[str, ...]  # of each SAE, if the step is the training


@dataclass(frozen=True)
class DrawnFigure:
    file: str
    figure: str
    trainer: str


@dataclass(frozen=True)
class PageSettings:
    shown: Shown
    figures: tuple[DrawnFigure, ...]
    steps: tuple[StepSettings, ...]
    configuration: dict[str, Any]  # all of it, to be printed
    code: dict[str, str]


@dataclass(frozen=True)
class Publish:
    """Where finished SAEs are sent if the target `publish` is asked for: section `publish` of the configuration."""

    repository: str
    private: bool
    license: str | None


@dataclass(frozen=True)
class CardSettings:
    publish: Publish | None
    shown: Shown
    code: dict[str, str]


@dataclass(frozen=True)
class UploadSettings:
    publish: Publish | None
    code: dict[str, str]
