"""Everything that is changed in SAEBench and its libraries, with the reasons. Applied in a process that scores one SAE.

What SAEBench computes is left alone: the changes are where it reads and writes, which model it gets, the vocabulary's
order, and what it computes only once.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
from sae_bench.evals.absorption import common, feature_absorption
from sae_bench.evals.absorption import main as absorption
from sae_bench.evals.absorption.vocab import get_alpha_tokens
from sae_bench.evals.scr_and_tpp import main as scr_and_tpp
from transformer_lens import HookedTransformer

from .remembered import remembering_in


def sorted_alpha_tokens(*arguments: Any, **options: Any) -> list[str]:
    return sorted(get_alpha_tokens(*arguments, **options))


def apply(model: HookedTransformer, folder: Path, probes: Path) -> None:
    """`folder`: where this process may write; `probes`: absorption's probes, one set per model."""
    name = model.cfg.model_name

    # 1. Our model. SAEBench would load one from the hub in each eval, by a name that transformer-lens knows.
    def our_model(wanted: str, *_: Any, **__: Any) -> HookedTransformer:
        if wanted != name:
            raise ValueError(f"SAEBench asked for the language model {wanted}, but this is {name}")
        return model

    hooked: Any = HookedTransformer  # mypy lets no method be replaced
    hooked.from_pretrained_no_processing = staticmethod(our_model)

    # 2. The vocabulary's order differs from process to process, and absorption draws from it: seeding alone gives
    #    another score each time (0.716 and 0.802 on one SAE). Both modules have imported the function by name.
    common.get_alpha_tokens = feature_absorption.get_alpha_tokens = sorted_alpha_tokens

    # 3. Absorption keeps probes and tables inside site-packages, by the SAE's name alone: a retrained SAE would read
    #    the old one's. The paths are defaults of arguments, so they are passed here.
    tables = {"sparse_probing_experiment_dir": folder / "k_sparse_probing", "probes_dir": probes}
    absorption.run_feature_absortion_experiment = partial(
        feature_absorption.run_feature_absortion_experiment, experiment_dir=folder / "feature_absorption", **tables
    )
    absorption.run_k_sparse_probing_experiment = partial(
        absorption.run_k_sparse_probing_experiment, experiment_dir=folder / "k_sparse_probing", probes_dir=probes
    )

    # 4. Prepared data sets and the loading script's module go to `folder`, not to the home folder. No network is used.
    datasets.config.HF_DATASETS_CACHE = folder / "datasets"
    datasets.config.HF_MODULES_CACHE = folder / "modules"
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    datasets.disable_progress_bars()

    # 5. SAEBench records the commit of the repository in which it runs as its own; outside any it records "Unknown".
    os.environ["GIT_CEILING_DIRECTORIES"] = str(folder.parent)

    # 6. TPP and SCR encode the same activations again for each class and N.
    scr_and_tpp.perform_feature_ablations = remembering_in(scr_and_tpp.perform_feature_ablations)
