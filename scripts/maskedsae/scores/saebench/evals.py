"""SAEBench's five evals: their configurations from ours, and how each is run.

To be imported in a process that scores, and not in its parent: on import, SAEBench and SAELens ask for a GPU.
"""

import random
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from ...jobs.errors import InputError
from ...jobs.files import read_list, write_json
from ...jobs.typed import plain
from .active import Active
from .checks import LoggedErrors, check_result
from .children import keep_freed_memory
from .imports import quick_imports
from .names import RECORDED
from .recorded import RecordedCalls
from .settings import Bench
from .variance import Variance, observe
from .workplace import unshared

with quick_imports():
    from sae_bench.evals.absorption import main as absorption
    from sae_bench.evals.absorption.feature_absorption_calculator import FeatureAbsorptionCalculator
    from sae_bench.evals.core import main as core
    from sae_bench.evals.scr_and_tpp import main as scr_and_tpp
    from sae_bench.evals.sparse_probing import main as sparse_probing
    from sae_bench.sae_bench_utils import activation_collection

    from . import patches

CONTEXT = 128  # tokens: about the length of absorption's prompts, and what SAEBench's batch sizes are for

Saes = list[tuple[str, Any]]  # (name, SAE), as SAEBench takes them

# Where each eval encodes the texts that it scores, each once: absorption its prompts, at the word (and not the words
# that its k-sparse probes learn from); sparse probing its training and test texts; TPP and SCR the test texts from
# which latents are ablated (and not the training texts that choose these latents). For core, variance.py counts.
SCORED = {
    "absorption": (FeatureAbsorptionCalculator, "calculate_absorption"),
    "sparse_probing": (activation_collection, "get_sae_meaned_activations"),
    "tpp": (scr_and_tpp, "perform_feature_ablations"),
    "scr": (scr_and_tpp, "perform_feature_ablations"),
}


def seed_all(seed: int) -> None:
    """Absorption never uses its own seed, and the two probing evals do not seed NumPy."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def prepare(eval_name: str, bench: Bench, model: Any, device: str, folder: Path, probes: Path) -> None:
    """Before an eval: `model` becomes the one that SAEBench uses, on `device`; `folder` is where it may write."""
    if device == "cpu":
        keep_freed_memory()
    if eval_name == "absorption" and bench.evals.absorption.bos is not None:
        model.cfg.default_prepend_bos = bench.evals.absorption.bos  # its prompts are text; the other evals give tokens
    patches.apply(model.to(device), folder, probes)


def run(eval_name: str, bench: Bench, name: str, sae: Any, device: str) -> Path:
    """Run one eval in the working directory, which must be empty; the JSON file that SAEBench wrote."""
    seed_all(bench.evals.seed)
    torch.set_grad_enabled(True)  # SCR and TPP leave it off
    output = Path("eval_results")
    RUNNERS[eval_name](bench, [(name, sae)], device, str(output))
    return next(output.rglob("*_eval_results.json"), output / "missing")


def score_sae(
    eval_name: str, bench: Bench, name: str, sae: Any, model: Any, folder: Path, shared: Path, device: str
) -> dict[str, Any]:
    """Run one eval of an SAE in its own process and working directory: write {eval_name}.json there; what else is
    recorded."""
    errors = LoggedErrors()
    prepare(eval_name, bench, model, device, folder, shared / "probes")
    calls = shared / f"{eval_name}_calls"
    recorded = RecordedCalls(model, calls, sae.cfg.hook_layer) if eval_name in RECORDED else None
    seen: Variance | Active
    if eval_name == "core":
        tokenizer = model.tokenizer
        ids = {tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id} - {None}
        seen = Variance(sae.cfg.d_in, ids)
        observe(seen, model, sae)
    else:
        seen, (owner, function) = Active(sae), SCORED[eval_name]
        setattr(owner, function, seen.during(getattr(owner, function)))
    path = run(eval_name, bench, name, sae, device)
    result = check_result(eval_name, path, bench.evals, errors.lines)
    if own := [str(file) for file in unshared(folder) if file.parts[0] == eval_name and file.suffix != ".json"]:
        raise InputError(f"SAEBench made {own[0]} again, though all SAEs of {bench.name} share it: remove {shared}")
    shutil.copyfile(path, folder / f"{eval_name}.json")
    if eval_name == "absorption":
        write_json(folder / "letters.json", _letters(result))
    found = seen.result()
    if eval_name == "core":
        write_json(folder / "variance.json", _variances(result, found))
    write_json(folder / "l0.json", {"l0": found["l0"], "tokens": found["tokens"]})
    return {"calls": {"hits": recorded.hits, "misses": recorded.misses}} if recorded else {}


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


def _letters(result: dict[str, Any]) -> dict[str, float]:
    """How well one latent tells each letter that absorption scores, beside the probe on activations: their F1 on the
    test words, from the file in which absorption leaves its k-sparse probes; and the means."""
    (path,) = Path("artifacts/absorption").glob("*_k_sparse_probing.json")
    rows = {row["letter"]: row for row in read_list(path)}
    letters = [detail["first_letter"] for detail in result["eval_result_details"]]
    keys = {"best_latent_f1": "f1_sparse_sae_1", "probe_f1": "f1_probe"}
    means = {name: fmean(rows[letter][key] for letter in letters) for name, key in keys.items()}
    return means | {f"{letter}.{name}": rows[letter][key] for letter in letters for name, key in keys.items()}


def _variances(result: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    theirs = result["eval_result_metrics"]
    l0 = theirs["sparsity"]["l0"]  # an exact count in either dtype, so it tells whether the tokens were core's
    if abs(ours["l0"] - l0) > 1e-3 * max(1, l0):
        raise InputError(
            f"core's l0 is {l0:.4f}, and {ours['l0']:.4f} on the tokens that were observed: not the same tokens: "
            "install the sae-bench that envs/constraints.txt names (make env)"
        )
    return {
        "saebench": theirs["reconstruction_quality"]["explained_variance"],
        "saebench_legacy": theirs["reconstruction_quality"]["explained_variance_legacy"],
        **ours,
        "text": "core's tokens; BOS, EOS and padding left out",
    }
