"""SAEBench's five evals: their configurations from ours, and how each is run."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...jobs.typed import plain
from .children import keep_freed_memory
from .imports import quick_imports
from .names import EVALS as EVALS
from .settings import Evals

with quick_imports():
    from sae_bench.evals.absorption import main as absorption
    from sae_bench.evals.core import main as core
    from sae_bench.evals.scr_and_tpp import main as scr_and_tpp
    from sae_bench.evals.sparse_probing import main as sparse_probing

CONTEXT = 128  # tokens: about the length of absorption's prompts, and what SAEBench's batch sizes are for


@dataclass(frozen=True)
class Bench:
    """What the evals of a model have in common."""

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


Saes = list[tuple[str, Any]]  # (name, SAE), as SAEBench takes them


def seed_all(seed: int) -> None:
    """Absorption never uses its own seed, and the two probing evals do not seed NumPy."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def run(eval_name: str, bench: Bench, name: str, sae: Any, device: str) -> Path:
    """Run one eval in the working directory, which must be empty; the JSON file that SAEBench wrote."""
    if device == "cpu":
        keep_freed_memory()
    seed_all(bench.evals.seed)
    torch.set_grad_enabled(True)  # SCR and TPP leave it off
    output = Path("eval_results")
    RUNNERS[eval_name](bench, [(name, sae)], device, str(output))
    return next(output.rglob("*_eval_results.json"), output / "missing")


def _absorption(bench: Bench, saes: Saes, device: str, output: str) -> None:
    settings = {key: value for key, value in plain(bench.evals.absorption).items() if key != "bos"}
    config = absorption.AbsorptionEvalConfig(
        random_seed=bench.evals.seed, llm_batch_size=bench.batch(CONTEXT), **bench.model_options, **settings
    )
    Path(output).mkdir()
    absorption.run_eval(config, saes, device, output, force_rerun=True)


def _core(bench: Bench, saes: Saes, device: str, output: str) -> None:
    """As run_all_evals_dictionary_learning_saes calls it, since `run_eval` takes no custom SAEs."""
    core.multiple_evals(
        saes,
        **plain(bench.evals.core),
        compute_featurewise_density_statistics=True,
        compute_featurewise_weight_based_metrics=True,
        output_folder=output,
        dtype=bench.dtype,
        device=device,
        force_rerun=True,
    )


def _sparse_probing(bench: Bench, saes: Saes, device: str, output: str) -> None:
    settings = plain(bench.evals.sparse_probing)
    config = sparse_probing.SparseProbingEvalConfig(
        random_seed=bench.evals.seed,
        llm_batch_size=bench.batch(settings["context_length"]),
        **bench.model_options,
        **settings,
    )
    sparse_probing.run_eval(config, saes, device, output, force_rerun=True)


def _scr_or_tpp(bench: Bench, saes: Saes, device: str, output: str, perform_scr: bool) -> None:
    settings = {key: value for key, value in plain(bench.evals.scr_and_tpp).items() if key != "ties"}
    pairs = {name: [tuple(pair) for pair in pairs] for name, pairs in settings.pop("class_pairs").items()}
    config = scr_and_tpp.ScrAndTppEvalConfig(
        random_seed=bench.evals.seed,
        perform_scr=perform_scr,
        column1_vals_lookup=pairs,
        llm_batch_size=bench.batch(settings["context_length"]),
        **bench.model_options,
        **settings,
    )
    scr_and_tpp.run_eval(config, saes, device, output, force_rerun=True)


def _scr(bench: Bench, saes: Saes, device: str, output: str) -> None:
    _scr_or_tpp(bench, saes, device, output, perform_scr=True)


def _tpp(bench: Bench, saes: Saes, device: str, output: str) -> None:
    _scr_or_tpp(bench, saes, device, output, perform_scr=False)


RUNNERS = {"absorption": _absorption, "core": _core, "sparse_probing": _sparse_probing, "tpp": _tpp, "scr": _scr}
