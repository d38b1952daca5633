"""Score files of made-up numbers in the forms that the real ones have: SAEBench's are written by its own classes."""

import json
from collections.abc import Callable
from copy import deepcopy
from itertools import product
from math import log
from pathlib import Path

from sae_bench.evals.absorption.eval_config import AbsorptionEvalConfig
from sae_bench.evals.absorption.eval_output import (
    AbsorptionEvalOutput,
    AbsorptionMeanMetrics,
    AbsorptionMetricCategories,
    AbsorptionResultDetail,
)
from sae_bench.evals.core import eval_output as core
from sae_bench.evals.core.eval_config import CoreEvalConfig
from sae_bench.evals.scr_and_tpp import eval_output as pairs
from sae_bench.evals.scr_and_tpp.eval_config import ScrAndTppEvalConfig
from sae_bench.evals.sparse_probing import eval_output as probing
from sae_bench.evals.sparse_probing.eval_config import SparseProbingEvalConfig

from maskedsae.inference.published import read_published
from maskedsae.inference.questions import metric_of
from maskedsae.report.tables import Table, make_tables
from maskedsae.scores.metrics import ACHIEVED_L0, BESIDE_ABSORPTION, SCORED_L0
from maskedsae.scores.saebench.names import EVALS
from maskedsae.scores.table import Row, Scores
from reported import PAPER, ROOT, cells_of, shown_of

N_VALUES, K_VALUES = [5, 20], [1, 2]
DATASETS = ["LabHC/bias_in_bios_class_set1_results", "canrager/amazon_reviews_mcauley_1and5_results"]
OOD_DATASETS = ("5_hist_fig_ismale", "87_glue_cola")

ABOUT = {
    "eval_id": "made-up",
    "datetime_epoch_millis": 0,
    "sae_bench_commit_hash": "none",
    "sae_lens_id": "custom_sae",
    "sae_lens_release_id": "made-up",
    "sae_lens_version": "none",
    "sae_cfg_dict": {},
}


def _filled(form, given: dict):
    """A SAEBench dataclass whose required fields that are not given are 0.5."""
    required = [name for name, field in form.__pydantic_fields__.items() if field.is_required()]
    return form(**{name: 0.5 for name in required} | given)


def absorption(score: float, fraction: float, split: float) -> AbsorptionEvalOutput:
    letter = {"mean_absorption_fraction": 0.25, "full_absorption_rate": score, "num_full_absorption": 3}
    counts = {"num_probe_true_positives": 40, "num_split_features": 1}
    means = {"mean_full_absorption_score": score, "mean_absorption_fraction_score": fraction}
    means |= {"mean_num_split_features": split}
    return AbsorptionEvalOutput(
        eval_config=AbsorptionEvalConfig(),
        eval_result_metrics=AbsorptionMetricCategories(mean=_filled(AbsorptionMeanMetrics, means)),
        eval_result_details=[AbsorptionResultDetail(first_letter=a, **letter, **counts) for a in "ab"],
        **ABOUT,
    )


def core_output(explained_variance: float, legacy: float) -> core.CoreEvalOutput:
    given = {"explained_variance": explained_variance, "explained_variance_legacy": legacy}
    latent = {"feature_density": 0.1, "consistent_activation_heuristic": 1.0}
    norms = ("encoder_bias", "encoder_norm", "encoder_decoder_cosine_sim")
    latent |= dict.fromkeys((*norms, "max_decoder_cosine_sim", "max_encoder_cosine_sim"), 0.1)
    return core.CoreEvalOutput(
        eval_config=CoreEvalConfig(),
        eval_result_metrics=core.CoreMetricCategories(
            model_behavior_preservation=_filled(core.ModelBehaviorPreservationMetrics, {}),
            model_performance_preservation=_filled(core.ModelPerformancePreservationMetrics, {}),
            reconstruction_quality=_filled(core.ReconstructionQualityMetrics, given),
            shrinkage=_filled(core.ShrinkageMetrics, {}),
            sparsity=_filled(core.SparsityMetrics, {"l0": 9.0}),
            token_stats=core.TokenStatsMetrics(
                total_tokens_eval_reconstruction=640, total_tokens_eval_sparsity_variance=640
            ),
            misc_metrics=_filled(core.MiscMetrics, {}),
        ),
        eval_result_details=[core.CoreFeatureMetric(index=i, **latent) for i in range(3)],
        **ABOUT,
    )


def sparse_probing(top_1: float) -> probing.SparseProbingEvalOutput:
    llm = {"llm_test_accuracy": 0.9, "llm_top_1_test_accuracy": 0.6, "llm_top_2_test_accuracy": 0.65}
    sae = {"sae_test_accuracy": None, "sae_top_1_test_accuracy": top_1, "sae_top_2_test_accuracy": 0.7}
    return probing.SparseProbingEvalOutput(
        eval_config=SparseProbingEvalConfig(k_values=K_VALUES),
        eval_result_metrics=probing.SparseProbingMetricCategories(
            llm=probing.SparseProbingLlmMetrics(**llm), sae=probing.SparseProbingSaeMetrics(**sae)
        ),
        eval_result_details=[probing.SparseProbingResultDetail(dataset_name=name, **llm, **sae) for name in DATASETS],
        **ABOUT,
    )


def tpp(top_20: float) -> pairs.TppEvalOutput:
    of_n = {5: 0.01, 20: top_20}
    kinds = ("total_metric", "intended_diff_only", "unintended_diff_only")
    given = {f"tpp_threshold_{n}_{kind}": of_n[n] for n in N_VALUES for kind in kinds}
    return pairs.TppEvalOutput(
        eval_config=ScrAndTppEvalConfig(n_values=N_VALUES, perform_scr=False),
        eval_result_metrics=pairs.TppMetricCategories(tpp_metrics=pairs.TppMetrics(**given)),
        eval_result_details=[pairs.TppResultDetail(dataset_name=name, **given) for name in DATASETS],
        **ABOUT,
    )


def scr(top_20: float) -> pairs.ScrEvalOutput:
    of_n = {5: 0.01, 20: top_20}
    given = {f"scr_{kind}_threshold_{n}": of_n[n] for n in N_VALUES for kind in ("dir1", "metric", "dir2")}
    return pairs.ScrEvalOutput(
        eval_config=ScrAndTppEvalConfig(n_values=N_VALUES),
        eval_result_metrics=pairs.ScrMetricCategories(scr_metrics=pairs.ScrMetrics(**given)),
        eval_result_details=[pairs.ScrResultDetail(dataset_name=name, **given) for name in DATASETS],
        **ABOUT,
    )


def probes(auc: float, ks: tuple[int, ...] = (1, 8)) -> dict:
    """ood.json and oracle.json, as maskedsae.scores.ood.scores makes them."""
    aucs = {"ood": auc, "in_distribution": 0.75}
    facts = {test: {"auc": value, "interval": [value - 0.01, value + 0.01]} for test, value in aucs.items()}
    dataset = {test: {**fact, "rows": 300, "of_class_1": 150} for test, fact in facts.items()}
    dataset |= {"features": ks[-1], "C": 1.0, "validation_auc": 0.8, "weights": 4, "converged": True}
    dataset |= {"train": {"rows": 80, "of_class_1": 40}, "classes": ["no", "yes"], "latents": [3, 1, 4]}
    dataset["by_k"] = {str(k): {**aucs, "C": 1.0, "weights": k} for k in ks}
    means = {
        test: {"mean": fact["auc"], "standard_error": 0.02, "interval": fact["interval"]}
        for test, fact in facts.items()
    }
    return {
        "protocol": {"k": ks[-1]},
        "mean": means,
        "mean_by_k": {str(k): aucs for k in ks},
        "datasets": dict.fromkeys(OOD_DATASETS, dataset),
    }


# What ood.json has besides: the curve of an SAE that comes near the oracle in distribution alone.
LATENTS = {"l0": {"ood": 9.25, "in_distribution": 8.75}, "latents_for_95": {"ood": None, "in_distribution": 6.5}}
# Less than the real ones, in their form.
CLEAN_ROBUSTNESS = {"l0": 8.0, "explained_variance": 0.9, "probe_auc": 0.9, "raw_probe_auc": 0.95}
ROBUSTNESS = {
    "text": "…",
    "clean": CLEAN_ROBUSTNESS,
    "typo": {**CLEAN_ROBUSTNESS, "jaccard": 0.8, "probe_auc_change": -0.1},
    "mean": {"jaccard": 0.8, "probe_auc_change": -0.1},
    "own": {"l0_untouched": 9.0, "l0_touched": 1.5},
}
PARENTS = {
    "text": "…",
    "latents": {"digit": 3},
    "scores": {
        "digit": {"tokens": 100, "missed": 0.25},
        "mean": {"missed": 0.25},
        "l0_8": {"digit": {"missed": 0.5}},
    },
}

# What a cell's numbers are where a test does not care.
USUAL = {
    "absorption": 0.2,
    "fraction": 0.3,
    "split": 1.5,
    "best_latent": 0.4,
    "saebench": 0.9,
    "legacy": 0.7,
    "centred": 0.71,
    "sparse_probing": 0.75,
    "tpp": 0.1,
    "scr": 0.2,
    "auc": 0.6,
    "l0": 8.0,
}


def write_cell(folder: Path, **numbers: float) -> list[str]:
    """A cell's score files; their paths as grid.score_files lists them."""
    given = USUAL | numbers
    (folder / "scores").mkdir(parents=True)
    (folder / "sae").mkdir()
    made = {
        "absorption": absorption(given["absorption"], given["fraction"], given["split"]),
        "core": core_output(given["saebench"], given["legacy"]),
        "sparse_probing": sparse_probing(given["sparse_probing"]),
        "tpp": tpp(given["tpp"]),
        "scr": scr(given["scr"]),
    }
    for name, output in made.items():
        output.to_json_file(str(folder / "scores" / f"{name}.json"))
    variance = {
        "saebench": given["saebench"],
        "saebench_legacy": given["legacy"],
        "centred": given["centred"],
        "tokens": 640,
    }
    quality = {"nominal_l0": 8, "l0": given["l0"], "mse": 2.5, "dead_latents": 3, "text": "…"}
    quality |= {"explained_variance": 0.9, "explained_variance_but_for_a_constant": 0.95}
    letters = {"best_latent_f1": given["best_latent"], "probe_f1": 0.9, "a.best_latent_f1": 0.3, "a.probe_f1": 0.8}
    files = {
        "scores/variance.json": variance,
        "scores/letters.json": letters,
        "scores/l0.json": {"absorption_tokens": 300, **dict.fromkeys(EVALS, 8.5), "absorption": 9.5},
        "scores/ood.json": probes(given["auc"]) | LATENTS,
        "sae/quality.json": quality,
    }
    files |= {"scores/robustness.json": ROBUSTNESS, "scores/parents.json": PARENTS}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return [*(str(folder / "scores" / f"{name}.json") for name in made), *(str(folder / name) for name in files)]


def rows_of(config: dict, number: Callable[[str, float, int, int, str], float]) -> list[Row]:
    """scores.csv's rows of the cells that the tables need: number(model, p, l0, seed, metric), as SAEBench has it."""
    shown = shown_of(config)
    judged = [metric_of(shown, name) for name in shown.analysis.endpoints]
    keys = [*(metric.key for metric in [*shown.report.all_metrics, *judged]), *L0S, "ood.auc"]
    rows = []
    for model in shown.models:
        source = f"results/{shown.run}/{model.name}/oracle.json"
        rows.append(Row(shown.run, model.name, "oracle", *[None] * 4, "oracle.auc", 0.9, source))
    for cell, key in product(cells_of(config), dict.fromkeys(keys)):
        p = shown.stream(cell.stream).p
        source = cell.folder / ("sae" if key == ACHIEVED_L0 else "scores") / f"{key.split('.')[0]}.json"
        about = (cell.run, cell.model, cell.stream, p, cell.trainer, cell.l0, cell.seed)
        rows.append(Row(*about, key, number(cell.model, p, cell.l0, cell.seed, key), str(source)))
    return rows


PUBLISHED = read_published(ROOT / "reference")
KEYS = [metric.key for metric in shown_of(PAPER).report.metrics]
BESIDE = [metric.key for metric in BESIDE_ABSORPTION]
L0S = (ACHIEVED_L0, *SCORED_L0.values(), "robustness.clean.l0")


def paper_with(**changes) -> dict:
    return deepcopy(PAPER) | changes


def tables_of(number, config: dict = PAPER, **changes) -> dict[str, list[Table]]:
    """`changes`: of what is shown, demo=True for one."""
    return make_tables(shown_of(config, **changes), Scores(rows_of(config, number)), PUBLISHED)


def plain(model: str, p: float, l0: int, seed: int, key: str) -> float:
    """Numbers that tell the cells of one seed apart; a masked SAE has l0 / (1 - p) latents active."""
    if key in L0S:
        return l0 / (1 - p)
    if key not in KEYS + BESIDE:
        return 0.6
    return 0.1 + 0.1 * p + 0.01 * log(l0) + 0.01 * (KEYS + BESIDE).index(key) + 0.001 * len(model)


def table_of(number, name: str = "table1", config: dict = PAPER, **changes) -> Table:
    (table,) = tables_of(number, config, **changes)[name]
    return table
