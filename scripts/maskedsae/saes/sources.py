"""Where the rows come from that SAEs learn from: what training asks of a language model or of a planted truth."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Protocol

import torch

from ..activations.language_models import LanguageModel
from ..activations.settings import ModelFacts, Stream
from ..activations.streams import ActivationStream, Batching
from ..text.tokens import Tokens
from .quality import HeldOut, clean_text
from .settings import Reading, Training, TrainJobSettings


class Facts(Protocol):
    """A model, as far as an SAE's files name it."""

    @property
    def name(self) -> str: ...
    @property
    def hub(self) -> str | None: ...
    @property
    def layer(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def hook(self) -> str: ...


class Named(Protocol):
    @property
    def name(self) -> str: ...


class Rows(Protocol):
    """Batches of rows, in blocks from which a training can resume; `ActivationStream` says how."""

    @property
    def model(self) -> Named: ...
    @property
    def stream(self) -> Stream: ...
    @property
    def config(self) -> dict[str, Any]: ...
    def __iter__(self) -> Iterator[torch.Tensor]: ...
    def blocks(
        self, start: int = 0, carry: torch.Tensor | None = None
    ) -> Iterator[tuple[int, torch.Tensor, tuple[torch.Tensor, ...]]]: ...


class Source(Protocol):
    """Its rows are asked for when all settings and checkpoints are known to be in order."""

    @property
    def facts(self) -> Facts: ...
    @property
    def text(self) -> str | None:
        """What identifies the text that it reads, if it reads one."""

    @property
    def rows(self) -> Rows: ...
    def heldout(self) -> HeldOut: ...


class LanguageModelSource:
    """A language model that reads a stream of text."""

    def __init__(self, facts: ModelFacts, tokens: Tokens, settings: TrainJobSettings, device: str):
        self.facts, self.tokens, self.settings, self.device = facts, tokens, settings, device
        self.text = tokens.digest()

    @cached_property
    def rows(self) -> ActivationStream:
        settings = self.settings
        model = LanguageModel(self.facts, settings.model.dtype, self.device)
        return make_stream(model, self.tokens, settings.stream, settings.stream_seed, settings.model, settings.training)

    def heldout(self) -> HeldOut:
        return clean_text(self.rows.model, self.tokens, self.settings.model.lm_batch)


def make_stream(
    model: LanguageModel, tokens: Tokens, stream: Stream, seed: int, reading: Reading, training: Training
) -> ActivationStream:
    batching = Batching(
        batch=training.batch,
        block_contexts=max(1, training.shuffle_tokens // tokens.context_length),
        lm_batch=reading.lm_batch,
        tf32=reading.tf32,
        drop_bos=training.drop_bos,
        max_norm_multiple=training.max_norm_multiple,
    )
    return ActivationStream(model, tokens, stream, seed, batching)
