"""SAEBench's own flow over several SAEs, `run_all_evals_dictionary_learning_saes.run_evals`, timed (for saebench.py).

It stands as it is but for this: the language model and the SAEs are local instead of on the hub, the evals' sizes are
those that we are given, and nothing is written into site-packages. `precalc_k_sparse_probe_sae_acts` stays off, which
is its default (with the demo's 384 latents it makes no difference that could be measured).
"""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from maskedsae.scores.saebench.names import EVALS
from maskedsae.scores.saebench.settings import Scoring


def run_all(given, spans) -> list[dict]:
    """In the current folder, which is its own; `given` and `spans` are saebench.py's Given and Spans."""
    import torch
    from sae_bench.custom_saes import batch_topk_sae
    from sae_bench.custom_saes import run_all_evals_dictionary_learning_saes as flow
    from transformer_lens import HookedTransformer

    from maskedsae.scores.saebench.language_model import hooked_transformer

    torch.set_num_threads(1)
    device = flow.general_utils.setup_environment()
    facts = SimpleNamespace(**json.loads((given.model / "model.json").read_text()))
    evals, batch = given.scoring.evals, given.scoring.batch_tokens // 128
    for owner in given.data.parent.resolve().iterdir():
        Path(owner.name).symlink_to(owner)
    downloaded = Path("downloaded_saes/demo_saes")  # where its loader keeps what it has fetched
    downloaded.mkdir(parents=True)
    for name, cell in given.saes.items():
        (downloaded / name).symlink_to((cell.folder / "sae").resolve())
    batch_topk_sae.hf_hub_download = lambda filename, local_dir, **_: f"{local_dir}/demo_saes/{filename}"
    sizes = {"layers": [facts.layer], "d_model": facts.width}
    flow.MODEL_CONFIGS[facts.name] = {"batch_size": batch, "dtype": "float32", **sizes}
    HookedTransformer.from_pretrained_no_processing = staticmethod(
        lambda *_, **__: hooked_transformer(facts, "float32", evals.absorption.bos)
    )
    give_sizes(flow, given.scoring)
    tables = {"experiment_dir": Path("k_sparse").absolute(), "probes_dir": Path("probes").absolute()}
    absorption = flow.absorption
    absorption.run_k_sparse_probing_experiment = partial(absorption.run_k_sparse_probing_experiment, **tables)
    tables |= {"experiment_dir": Path("absorbed").absolute(), "sparse_probing_experiment_dir": tables["experiment_dir"]}
    absorption.run_feature_absortion_experiment = partial(absorption.run_feature_absortion_experiment, **tables)
    give_times(flow, spans, {f"saes_{name}": name for name in given.saes})
    flow.run_evals("demo/saes", facts.name, list(given.saes), batch, "float32", device, list(EVALS), evals.seed)
    missing = len(EVALS) * len(given.saes) - len(spans.found)
    results = len(list(Path("eval_results").rglob("*_eval_results.json")))
    assert not missing and results == len(spans.found), f"{results} results: it goes on after errors"
    return spans.found


def give_sizes(flow, scoring: Scoring) -> None:
    """Its script makes each configuration of defaults: these are put over them."""
    settings = json.loads(json.dumps(asdict(scoring.evals)))  # lists for tuples, as SAEBench has them
    absorption, both, probing = (settings[name] for name in ("absorption", "scr_and_tpp", "sparse_probing"))
    for name in ("bos", "precalc_k_sparse_probe_sae_acts"):
        del absorption[name]
    del both["ties"]
    pairs = both.pop("class_pairs").items()
    both["column1_vals_lookup"] = {data: [tuple(pair) for pair in its_pairs] for data, its_pairs in pairs}
    for sizes in (both, probing):
        sizes["llm_batch_size"] = scoring.batch_tokens // sizes["context_length"]
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
