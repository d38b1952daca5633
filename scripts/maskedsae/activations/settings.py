"""What activations depend on: a language model and a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..jobs.errors import InputError
from .corruptions.base import Corruption, Rows

Context = Literal["corrupted", "clean", "noise"]


@dataclass(frozen=True)
class ModelSettings:
    """Which language model, and how it is used: the settings of rule `model`."""

    name: str
    hub: str | None
    path: str | None
    revision: str | None
    layer: int
    bos: bool | None
    mask: str
    context_length: int
    code: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFacts:
    """What the workflow found out about a language model: model.json."""

    name: str
    hub: str | None
    commit: str | None  # of the hub repository
    path: str | None
    family: str
    layers: int
    layer: int  # the one that is read
    width: int
    vocabulary: int
    bos: bool  # whether its contexts start with BOS
    files: dict[str, str] | None  # of a local model: {name: SHA-256}
    mask_id: int
    special_ids: tuple[int, ...]

    @property
    def source(self) -> str:
        """What transformers loads it from."""
        source = self.path or self.hub
        assert source is not None
        return source

    @property
    def hook(self) -> str:
        """transformer-lens' name of the activations that are read."""
        return f"blocks.{self.layer}.hook_resid_post"


@dataclass(frozen=True)
class Stream:
    """How text becomes the rows that an SAE learns from."""

    name: str
    corruption: Corruption | None = None  # None: the baseline
    context: Context = "corrupted"  # the one that the language model reads for a row
    rows: Rows = "all"  # those that are kept

    def __post_init__(self) -> None:
        for key, allowed in (("context", get_args(Context)), ("rows", get_args(Rows))):
            if getattr(self, key) not in allowed:
                raise InputError(f"{key}: {getattr(self, key)} is not one of {', '.join(allowed)}")
        if self.corruption is None and (self.context, self.rows) != ("corrupted", "all"):
            raise InputError(
                f"streams: {self.name}: context and rows say something about a corruption, and this stream has none"
            )

    @property
    def is_baseline(self) -> bool:
        """Whether it has no corruption. A corruption at rate 0 gives the same rows, but is not the baseline."""
        return self.corruption is None

    @property
    def p(self) -> float:
        return 0.0 if self.corruption is None else float(self.corruption.p)

    @property
    def as_in_the_paper(self) -> bool:
        """The baseline; or a mask without other settings, with every row kept as the masked context gives it."""
        if self.corruption is None:
            return True
        mask = self.corruption.plain() == {"kind": "mask", "p": self.corruption.p}
        return mask and (self.context, self.rows) == ("corrupted", "all")

    @property
    def share_of_rows(self) -> float:
        """How many rows a position of the text gives on average."""
        return 1 if self.corruption is None else self.corruption.share_of_rows(self.rows)

    def plain(self) -> dict[str, Any]:
        """As in a configuration, with every key."""
        corruption = None if self.corruption is None else self.corruption.plain()
        return {"name": self.name, "corruption": corruption, "context": self.context, "rows": self.rows}

    @classmethod
    def from_plain(cls, value: Mapping[str, Any], where: str = "") -> Stream:
        """Also from the short form: {name: mask30, p: 0.3} is a mask, and p: 0 is no corruption."""
        where = f"{where}." if where else ""
        short, corruption = value.get("p"), value.get("corruption")
        if short is not None and corruption is not None:
            raise InputError(f"{where}p: given beside corruption, which has its own p: keep one of the two")
        if short:
            corruption = {"kind": "mask", "p": short}
        return cls(
            value["name"],
            None if corruption is None else Corruption.from_plain(corruption, f"{where}corruption"),
            value.get("context", "corrupted"),
            value.get("rows", "all"),
        )
