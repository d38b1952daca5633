"""SAEBench's own run_eval on one SAE of the demo, by hand: what our scores are compared with.

Of ours it takes only the two loaders, of the language model and of the SAE. What a person must do is here: offline data
sets in the working folder, warm artefacts, a seed, a sorted vocabulary, absorption's paths. No child processes, no
recorded activations, no links, no guards.

    python directly.py EVAL CELL MODEL_FOLDER DATA SETTINGS OUTPUT
"""

import json
import os
import random
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

EVAL, CELL, MODEL_FOLDER, DATA, SETTINGS, OUTPUT = sys.argv[1:]
SEED = 42


def main() -> None:
    import sae_bench.evals.absorption.common as common
    import sae_bench.evals.absorption.feature_absorption as feature_absorption
    import sae_bench.evals.absorption.main as absorption
    import sae_bench.evals.core.main as core
    import sae_bench.evals.scr_and_tpp.main as scr_and_tpp
    import sae_bench.evals.sparse_probing.main as sparse_probing
    from transformer_lens import HookedTransformer

    from maskedsae.activations.language_models import read_facts
    from maskedsae.scores.saebench.language_model import hooked_transformer
    from maskedsae.scores.saebench.saes import load_for_saebench

    facts = read_facts(Path(MODEL_FOLDER, "model.json"))
    settings = json.loads(SETTINGS)
    torch.set_num_threads(1)
    model = hooked_transformer(facts, "float32", settings["absorption"].pop("bos"))
    sae = load_for_saebench(CELL + "/sae", facts.name)
    HookedTransformer.from_pretrained_no_processing = lambda *_, **__: model

    shutil.copytree(DATA, OUTPUT)
    shutil.copytree(MODEL_FOLDER + "/saebench/artifacts", OUTPUT + "/artifacts")
    shutil.copytree(MODEL_FOLDER + "/saebench/probes", OUTPUT + "/probes")
    os.chdir(OUTPUT)
    for module in (common, feature_absorption):
        module.get_alpha_tokens = lambda *_, given=common.get_alpha_tokens: sorted(given(model.tokenizer))
    for name, folders in (
        ("run_k_sparse_probing_experiment", {"experiment_dir": "k"}),
        ("run_feature_absortion_experiment", {"experiment_dir": "f", "sparse_probing_experiment_dir": "k"}),
    ):
        setattr(absorption, name, partial(getattr(absorption, name), probes_dir="probes", **folders))

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(SEED)
    name, dtype, saes = facts.name, "float32", [("sae", sae)]
    batch = {"model_name": name, "llm_dtype": dtype, "random_seed": SEED}
    tokens = 32 * 128  # of one forward pass: the demo's
    if EVAL == "absorption":
        os.mkdir("out")
        config = absorption.AbsorptionEvalConfig(**batch, llm_batch_size=tokens // 128, **settings["absorption"])
        absorption.run_eval(config, saes, "cpu", "out", force_rerun=True)
    elif EVAL == "core":
        core.multiple_evals(
            saes,
            **settings["core"],
            compute_featurewise_density_statistics=True,
            compute_featurewise_weight_based_metrics=True,
            output_folder="out",
            dtype=dtype,
            device="cpu",
            force_rerun=True,
        )
    elif EVAL == "sparse_probing":
        llm = tokens // settings["sparse_probing"]["context_length"]
        config = sparse_probing.SparseProbingEvalConfig(**batch, llm_batch_size=llm, **settings["sparse_probing"])
        sparse_probing.run_eval(config, saes, "cpu", "out", force_rerun=True)
    else:
        both = settings["scr_and_tpp"]
        pairs, _ = both.pop("class_pairs"), both.pop("ties")
        config = scr_and_tpp.ScrAndTppEvalConfig(
            **batch,
            llm_batch_size=tokens // both["context_length"],
            perform_scr=EVAL == "scr",
            column1_vals_lookup={data: [tuple(pair) for pair in of_data] for data, of_data in pairs.items()},
            **both,
        )
        scr_and_tpp.run_eval(config, saes, "cpu", "out", force_rerun=True)


main()
