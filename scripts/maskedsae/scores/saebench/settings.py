"""What SAEBench's evals are asked: section `saebench` of the configuration.

Keys of an eval are SAEBench's own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...jobs.typed import plain, read
from .names import EVALS, SECTIONS

# Settings that affect only a single SAE's scores, and not what all SAEs of a model share. What is shared is made with a
# placeholder in place of an SAE and with these values: little work on the placeholder, otherwise SAEBench's defaults.
# None of them changes the random numbers that words and probes are drawn with.
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
    """The settings of all evals, without the source of their texts (which are an input)."""

    seed: int
    absorption: Absorption
    core: Core
    sparse_probing: SparseProbing
    scr_and_tpp: ScrAndTpp


@dataclass(frozen=True)
class Saebench(Evals):
    """The whole section."""

    data: Data
    evals: tuple[str, ...]  # those that are asked for

    @property
    def asked(self) -> tuple[str, ...]:
        """In the order in which they run."""
        return tuple(name for name in EVALS if name in self.evals)

    @property
    def eval_settings(self) -> Evals:
        return Evals(self.seed, self.absorption, self.core, self.sparse_probing, self.scr_and_tpp)


@dataclass(frozen=True)
class Scoring:
    """Everything that decides an SAE's scores, except the inputs: the SAE, the model, the texts and what SAEs share."""

    asked: tuple[str, ...]  # the evals to run; no part of what decides each one's score
    evals: Evals
    dtype: str  # of the language model
    batch_tokens: int  # in one forward pass of it, at most
    code: dict[str, str]

    def of(self, eval_name: str) -> dict[str, Any]:
        """Those that decide this eval's score."""
        return _of(eval_name, plain(self))


@dataclass(frozen=True)
class Sharing:
    """Everything that decides what the SAEs of a model share. N and the k-sparse probes are no part of it."""

    asked: tuple[str, ...]  # the evals whose part is made; no part of what decides each
    evals: dict[str, Any]  # without what PLACEHOLDER lists
    dtype: str
    batch_tokens: int
    code: dict[str, str]

    def of(self, eval_name: str) -> dict[str, Any]:
        """Those that decide what SAEs share in this eval."""
        return _of(eval_name, plain(self))

    def placeholder_evals(self) -> Evals:
        filled = {name: {**self.evals[name], **values} for name, values in PLACEHOLDER.items()}
        return read(Evals, self.evals | filled)


def _of(eval_name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Without the sections of the other evals, and which others are asked for."""
    evals, others = settings["evals"], {key: value for key, value in settings.items() if key != "asked"}
    own = evals[SECTIONS.get(eval_name, eval_name)]
    if eval_name == "tpp":
        own = {key: value for key, value in own.items() if key != "ties"}  # which are SCR's
    return others | {"evals": {"seed": evals["seed"], eval_name: own}}


def shared_part(evals: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings of evals (as plain values) that decide what SAEs share."""
    return {
        name: {key: value for key, value in settings.items() if key not in PLACEHOLDER[name]}
        if name in PLACEHOLDER
        else settings
        for name, settings in evals.items()
    }


@dataclass(frozen=True)
class Bench:
    """What the evals of a language model have in common."""

    name: str  # the model's
    evals: Evals
    dtype: str
    batch_tokens: int  # in one forward pass of the language model, at most

    @property
    def model_options(self) -> dict[str, Any]:
        return {"model_name": self.name, "llm_dtype": self.dtype}

    def batch(self, context: int) -> int:
        """Texts in a forward pass; with the paper's models SAEBench's own 256 (Pythia) and 32 (Gemma) of 128 tokens."""
        return max(1, self.batch_tokens // context)


@dataclass(frozen=True)
class Texts:
    """What decides the rows of SAEBench's data sets: the settings of each eval that affect them."""

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
