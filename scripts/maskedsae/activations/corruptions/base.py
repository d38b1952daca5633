"""What a corruption is, and how a kind is found by its name.

Each kind has a file of its name in this folder, with one class: a frozen dataclass whose fields are its settings.
`corrupt` is a pure function of (contexts, their numbers, seed, vocabulary): its random numbers come from `uniforms`,
which is keyed by context and position, so no batch size, block size or restart changes them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...jobs.errors import InputError
from ...jobs.typed import read

Ids = NDArray[np.int64]
Rows = Literal["all", "untouched"]

# In `Corrupted.source`, for positions that hold no token of the clean context.
REPLACED = -1  # the token was replaced
ABSENT = -2  # no token is left for this position; the language model reads a filler, which gives no row


# What random numbers are for; each purpose has numbers of its own.
TOUCH, DRAW, NOISE = 0, 1, 2


class Vocabulary(Protocol):
    """What a corruption may know about the language model's tokens: ../vocabulary.py finds it out."""

    @property
    def mask_id(self) -> int: ...
    @property
    def special_ids(self) -> Sequence[int]: ...
    @property
    def counts(self) -> Ids:
        """How often each token occurs in the training text."""

    @property
    def word_edges(self) -> NDArray[np.bool_]:
        """2 x tokens: whether a token's text begins within a word, and whether it ends within one."""

    def token_id(self, string: str) -> int:
        """Of a string that is one token; an InputError if it is not."""


class Corrupted(NamedTuple):
    """Contexts as the language model reads them, and what became of each token."""

    tokens: Ids  # contexts x positions
    source: Ids  # for each position: its token's position in the clean context, REPLACED or ABSENT


@dataclass(frozen=True)
class Corruption(ABC):
    """A kind of corruption with its settings; `p` is the rate at which tokens are touched."""

    p: float

    kind: ClassVar[str]
    done: ClassVar[str]  # what has been done to a token, in a word: "masked"

    kinds: ClassVar[dict[str, type[Corruption]]] = {}

    def __init_subclass__(cls, kind: str, done: str) -> None:
        cls.kind, cls.done = kind, done
        Corruption.kinds[kind] = cls

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise InputError(f"p: {self.p} is out of range: it must be at least 0 and less than 1")

    @abstractmethod
    def corrupt(self, contexts: Ids, numbers: Sequence[int], seed: int, vocabulary: Vocabulary) -> Corrupted:
        """`contexts` (contexts x positions); `numbers` says which contexts of the text these are."""

    def share_of_rows(self, rows: Rows) -> float:
        """How many rows a position gives on average; how much text a stream needs follows from it."""
        return 1 if rows == "all" else 1 - self.p

    @property
    def strings(self) -> tuple[str, ...]:
        """Those in its settings that must each be one token, so that rule `model` can say early that one is not."""
        return ()

    def plain(self) -> dict[str, Any]:
        """As in a configuration; `from_plain` is the inverse. A setting that is null is left out, so that a kind can
        be given another setting without training again what does not have it."""
        return {"kind": self.kind} | {key: value for key, value in asdict(self).items() if value is not None}

    @staticmethod
    def from_plain(value: Mapping[str, Any], where: str = "") -> Corruption:
        where = f"{where}." if where else ""
        if "kind" not in value:
            raise InputError(f"{where}kind: missing: one of {', '.join(known_kinds())}")
        settings = {key: setting for key, setting in value.items() if key != "kind"}
        cls = corruption_class(value["kind"], f"{where}kind")
        try:
            return read(cls, settings)
        except InputError as error:  # the same message, with the key's place
            raise InputError(f"{where}{error}") from None


def known_kinds() -> list[str]:
    files = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "base"}
    return sorted(files | Corruption.kinds.keys())


def corruption_class(kind: str, where: str = "kind") -> type[Corruption]:
    """From the file of its name, or a class defined elsewhere that has been imported."""
    if kind not in known_kinds():
        close = get_close_matches(str(kind), known_kinds(), n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise InputError(f"{where}: {kind} is not one of {', '.join(known_kinds())}{hint}")
    if kind not in Corruption.kinds:
        import_module(f"{__package__}.{kind}")
    return Corruption.kinds[kind]


def uniforms(seed: int, numbers: Sequence[int], length: int, purpose: int = TOUCH) -> NDArray[np.float64]:
    """u[c, t] in [0, 1) for the contexts with these numbers and positions 0 ... length - 1: one fixed number each.

    Philox is a counter-based generator: keyed by (seed, context), its n-th output is a pure function of n. The purpose
    is the highest of the counter's four words. The raw output is used, since NumPy promises stability for bit
    generators only; its top 53 bits make a float64 exactly.
    """
    counter = [0, 0, 0, purpose]
    rows = [np.random.Philox(key=[seed, number], counter=counter).random_raw(length) for number in numbers]
    raw = np.stack(rows) if rows else np.empty((0, length), np.uint64)
    return (raw >> np.uint64(11)) * 2.0**-53


def touched(
    p: float, contexts: Ids, numbers: Sequence[int], seed: int, special_ids: Sequence[int]
) -> NDArray[np.bool_]:
    """Which tokens a corruption at rate p touches: those whose uniform number is below p.

    So p = 0 touches none; a larger p touches all tokens that a smaller one does (paired comparisons of streams, with
    less noise); and all corruptions with the same p and seed touch the same tokens. BOS, EOS and padding are structure,
    not text, and are never touched.
    """
    return (uniforms(seed, numbers, contexts.shape[1]) < p) & ~np.isin(contexts, special_ids)


def replaced(contexts: Ids, those: NDArray[np.bool_], by: int | Ids) -> Corrupted:
    """`those` tokens are replaced, and all others stay where they are."""
    places = np.broadcast_to(np.arange(contexts.shape[1]), contexts.shape)
    return Corrupted(np.where(those, np.asarray(by, contexts.dtype), contexts), np.where(those, REPLACED, places))
