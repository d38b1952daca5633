"""What probing out of distribution depends on: section `ood` of the configuration, and its parts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ood:
    """The section."""

    rows: int
    train_rows: int
    split_seed: int
    validation_rows: int
    max_tokens: int
    bos: bool | None
    k: int
    ks: tuple[int, ...]
    max_iter: int
    seed: int
    same_rows: bool
    drop_seen: bool
    bootstrap: int


@dataclass(frozen=True)
class OodTexts:
    """What decides the activations that all probes of a language model share."""

    rows: int
    max_tokens: int
    bos: bool | None
    dtype: str
    batch_tokens: int  # in a forward pass, at most
    code: dict[str, str]


@dataclass(frozen=True)
class Probing:
    """What decides a probe, except the activations (an input)."""

    train_rows: int
    split_seed: int
    validation_rows: int
    max_iter: int
    seed: int
    drop_seen: bool
    bootstrap: int
    code: dict[str, str]


@dataclass(frozen=True)
class SaeProbing(Probing):
    """The same for a probe on an SAE's latents."""

    k: int
    ks: tuple[int, ...]
    same_rows: bool
