"""SAEBench's own flow over several SAEs, `run_all_evals_dictionary_learning_saes.run_evals`, timed (for saebench.py).

It stands as it is but for this: the language model and the SAEs are local instead of on the hub, the evals' sizes are
those that we are given, and nothing is written into site-packages. `precalc_k_sparse_probe_sae_acts` stays off, which
is its default (with the demo's 384 latents it makes no difference that could be measured).
"""

import os
from functools import partial
from pathlib import Path


def run_all(folder: Path, given: dict, spans) -> list[dict]:
    import torch
    from sae_bench.custom_saes import batch_topk_sae
    from sae_bench.custom_saes import run_all_evals_dictionary_learning_saes as flow
    from transformer_lens import HookedTransformer

    from maskedsae.scores.saebench.evals import EVALS
    from maskedsae.scores.saebench.language_model import hooked_transformer

    torch.set_num_threads(1)
    device = flow.general_utils.setup_environment()
    facts, settings = given["facts"], given["settings"]
    name, batch = facts["name"], settings["batch_tokens"] // 128
    for owner in Path(given["data"]).iterdir():
        (folder / owner.name).symlink_to(owner)
    for sae, files in given["saes"].items():  # where its loader keeps what it has fetched
        link = folder / "downloaded_saes/demo_saes" / sae
        link.parent.mkdir(parents=True)
        link.symlink_to(files)
    batch_topk_sae.hf_hub_download = lambda filename, local_dir, **_: f"{local_dir}/demo_saes/{filename}"
    sizes = {"layers": [facts["layer"]], "d_model": facts["width"]}
    flow.MODEL_CONFIGS[name] = {"batch_size": batch, "dtype": "float32", **sizes}
    HookedTransformer.from_pretrained_no_processing = staticmethod(
        lambda *_, **__: hooked_transformer(facts, "float32", settings["absorption"]["bos"])
    )
    give_sizes(flow, settings)
    tables = {"experiment_dir": folder / "k_sparse", "probes_dir": folder / "probes"}
    absorption = flow.absorption
    absorption.run_k_sparse_probing_experiment = partial(absorption.run_k_sparse_probing_experiment, **tables)
    tables = tables | {"experiment_dir": folder / "absorbed", "sparse_probing_experiment_dir": folder / "k_sparse"}
    absorption.run_feature_absortion_experiment = partial(absorption.run_feature_absortion_experiment, **tables)
    give_times(flow, spans, {"saes_" + sae.replace("/", "_"): sae for sae in given["saes"]})
    os.chdir(folder)
    flow.run_evals("demo/saes", name, list(given["saes"]), batch, "float32", device, list(EVALS), settings["seed"])
    missing = len(EVALS) * len(given["saes"]) - len(spans.found)
    results = len(list(Path("eval_results").rglob("*_eval_results.json")))
    assert not missing and results == len(spans.found), f"{results} results: it goes on after errors"
    return spans.found


def give_sizes(flow, settings: dict) -> None:
    """Its script makes each configuration of defaults: these are put over them."""
    absorption = {
        key: value
        for key, value in settings["absorption"].items()
        if key not in ("bos", "precalc_k_sparse_probe_sae_acts")
    }
    both = {key: value for key, value in settings["scr_and_tpp"].items() if key not in ("ties", "class_pairs")}
    pairs = settings["scr_and_tpp"]["class_pairs"].items()
    both["column1_vals_lookup"] = {data: [tuple(pair) for pair in of_data] for data, of_data in pairs}
    probing = dict(settings["sparse_probing"])
    for of_eval in (both, probing):
        of_eval["llm_batch_size"] = settings["batch_tokens"] // of_eval["context_length"]
    for module, name, sizes in (
        (flow.absorption, "AbsorptionEvalConfig", absorption),
        (flow.core, "multiple_evals", settings["core"]),
        (flow.scr_and_tpp, "ScrAndTppEvalConfig", both),
        (flow.sparse_probing, "SparseProbingEvalConfig", probing),
    ):
        setattr(module, name, over(getattr(module, name), sizes))


def over(made, sizes: dict):
    return lambda *arguments, **options: made(*arguments, **options | sizes)


def give_times(flow, spans, names: dict[str, str]) -> None:
    def named(eval_of):
        return lambda *arguments, **options: (
            eval_of(*arguments),
            names[(arguments[1] if arguments else options["selected_saes"])[0][0]],
        )

    for module, entry, eval_of in (
        (flow.absorption, "run_eval", lambda *_: "absorption"),
        (flow.core, "multiple_evals", lambda *_: "core"),
        (flow.scr_and_tpp, "run_eval", lambda config, *_: "scr" if config.perform_scr else "tpp"),
        (flow.sparse_probing, "run_eval", lambda *_: "sparse_probing"),
    ):
        setattr(module, entry, spans.around(getattr(module, entry), named(eval_of)))
