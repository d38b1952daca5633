"""What SAEBench's evals are asked: section `saebench` of the configuration.

Keys of an eval are SAEBench's own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...jobs.typed import read

# Settings that bear on single SAEs' scores only, and not on what all SAEs of a model share. What is shared is made with
# a placeholder in the SAE's place, and with these values: little work where it is the SAE's, else SAEBench's defaults.
# None of it draws from what the words or the probes are drawn from.
PLACEHOLDER: dict[str, dict[str, Any]] = {
    "absorption": {
        "max_k_value": 1,
        "f1_jump_threshold": 0.03,
        "k_sparse_probe_l1_decay": 0.01,
        "k_sparse_probe_batch_size": 4096,
        "k_sparse_probe_num_epochs": 1,
        "eval_k_sparse_probe_batch_size": 24,
        "precalc_k_sparse_probe_sae_acts": True,
    },
    "core": {"exclude_special_tokens_from_reconstruction": False},
    "sparse_probing": {"sae_batch_size": 125},
    "scr_and_tpp": {"sae_batch_size": 125, "n_values": [2], "probe_test_batch_size": 500},
}

Pairs = dict[str, tuple[tuple[str, ...], ...]]  # {data set: pairs of classes}


@dataclass(frozen=True)
class Revision:
    dataset: str
    revision: str


@dataclass(frozen=True)
class Data:
    """Where the texts come from."""

    source: Literal["hub", "stand-in"]
    revisions: tuple[Revision, ...] = ()


@dataclass(frozen=True)
class Absorption:
    bos: bool | None
    prompt_template: str
    prompt_token_pos: int
    max_k_value: int
    f1_jump_threshold: float
    min_GT_probe_f1: float
    min_feats_for_eval: int
    k_sparse_probe_l1_decay: float
    k_sparse_probe_batch_size: int
    k_sparse_probe_num_epochs: int
    eval_k_sparse_probe_batch_size: int
    precalc_k_sparse_probe_sae_acts: bool


@dataclass(frozen=True)
class Core:
    dataset: str
    context_size: int
    eval_batch_size_prompts: int
    n_eval_reconstruction_batches: int
    n_eval_sparsity_variance_batches: int
    exclude_special_tokens_from_reconstruction: bool


@dataclass(frozen=True)
class SparseProbing:
    dataset_names: tuple[str, ...]
    probe_train_set_size: int
    probe_test_set_size: int
    context_length: int
    k_values: tuple[int, ...]
    sae_batch_size: int


@dataclass(frozen=True)
class ScrAndTpp:
    dataset_names: tuple[str, ...]
    class_pairs: Pairs
    ties: Literal["error", "leave_out"]
    train_set_size: int
    test_set_size: int
    context_length: int
    n_values: tuple[int, ...]
    probe_train_batch_size: int
    probe_test_batch_size: int
    probe_epochs: int
    probe_lr: float
    probe_l1_penalty: float
    early_stopping_patience: int
    sae_batch_size: int


@dataclass(frozen=True)
class Evals:
    """The settings of all evals, without where their texts come from (an input of theirs)."""

    seed: int
    absorption: Absorption
    core: Core
    sparse_probing: SparseProbing
    scr_and_tpp: ScrAndTpp


@dataclass(frozen=True)
class Saebench(Evals):
    """The whole section."""

    data: Data

    @property
    def evals(self) -> Evals:
        return Evals(self.seed, self.absorption, self.core, self.sparse_probing, self.scr_and_tpp)


@dataclass(frozen=True)
class Scoring:
    """All that decides an SAE's scores, but for the SAE, the model, the texts and what SAEs share (inputs)."""

    evals: Evals
    dtype: str  # of the language model
    batch_tokens: int  # that one forward pass of it may hold
    code: dict[str, str]


@dataclass(frozen=True)
class Sharing:
    """All that decides what the SAEs of a model share: so another N or k-sparse probe makes no activations anew."""

    evals: dict[str, Any]  # less what PLACEHOLDER lists
    dtype: str
    batch_tokens: int
    code: dict[str, str]

    def of_placeholder(self) -> Evals:
        filled = {name: {**self.evals[name], **given} for name, given in PLACEHOLDER.items()}
        return read(Evals, self.evals | filled)


def shared_part(evals: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings of evals, as plain values: those that Sharing is about."""
    return {
        name: {key: value for key, value in settings.items() if key not in PLACEHOLDER[name]}
        if name in PLACEHOLDER
        else settings
        for name, settings in evals.items()
    }


@dataclass(frozen=True)
class Texts:
    """What decides the rows of SAEBench's data sets: of each eval the settings that bear on them."""

    seed: int
    data: Data
    sparse_probing: ProbingTexts
    scr_and_tpp: PairedTexts
    core: CoreTexts
    code: dict[str, str]


@dataclass(frozen=True)
class ProbingTexts:
    dataset_names: tuple[str, ...]
    probe_train_set_size: int
    probe_test_set_size: int


@dataclass(frozen=True)
class PairedTexts:
    dataset_names: tuple[str, ...]
    class_pairs: Pairs
    train_set_size: int
    test_set_size: int


@dataclass(frozen=True)
class CoreTexts:
    dataset: str
    context_size: int
    eval_batch_size_prompts: int
    n_eval_reconstruction_batches: int
    n_eval_sparsity_variance_batches: int
