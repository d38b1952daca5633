"""The metrics of tables and figures, the paper's five and ours beside them: their names, their keys in scores.csv, and
the scale on which they are printed."""

from collections.abc import Collection
from dataclasses import dataclass

ACHIEVED_L0 = "quality.l0"  # measured on clean text; the nominal one is in the path

# The same on the texts that each score is about.
SCORED_L0 = {
    "absorption": "l0.absorption",
    "core": "l0.core",
    "sparse probing": "l0.sparse_probing",
    "TPP": "l0.tpp",
    "SCR": "l0.scr",
    "OOD": "ood.l0",
}


def scored_l0(files: Collection[str]) -> dict[str, str]:
    """Those of SAEs whose scores are in these files (stems)."""
    return {text: key for text, key in SCORED_L0.items() if key.removesuffix(".l0").removeprefix("l0.") in files}


EXPLAINED_VARIANCE = {
    "legacy": "core.explained_variance_legacy",
    "saebench": "core.explained_variance",
    "centred": "variance.centred",
}


@dataclass(frozen=True)
class Metric:
    """`key` is its name in scores.csv. Once scaled, higher is better, unless `lower_is_better`."""

    name: str
    label: str
    key: str
    inverted: bool = False  # SAEBench gives the share of absorbed features, the paper that of the others
    percent: bool = True  # as the paper prints all its metrics
    lower_is_better: bool = False
    l0: str = ACHIEVED_L0  # the l0 on the texts that it is about

    @property
    def file(self) -> str:
        """The stem of the score file that it is in."""
        return self.key.split(".")[0]

    def scaled(self, value: float) -> float:
        """As it is printed."""
        return self.scale * ((1 - value) if self.inverted else value)

    @property
    def scale(self) -> float:
        return 100 if self.percent else 1


def paper_metrics(explained_variance: str, n: int, k: int) -> list[Metric]:
    """In the paper's order; the configuration's section `report` chooses the number for each."""
    l0 = SCORED_L0
    full, variance = "absorption.mean_full_absorption_score", EXPLAINED_VARIANCE[explained_variance]
    probing = f"sparse_probing.sae_top_{k}_test_accuracy"
    return [
        Metric("absorption", "Mean Full Absorption", full, inverted=True, l0=l0["absorption"]),
        Metric("explained_variance", "Explained Variance", variance, l0=l0["core"]),
        Metric("sparse_probing", "Sparse Probing", probing, l0=l0["sparse probing"]),
        Metric("tpp", "TPP", f"tpp.tpp_threshold_{n}_total_metric", l0=l0["TPP"]),
        Metric("scr", "SCR", f"scr.scr_metric_threshold_{n}", l0=l0["SCR"]),
    ]


# Shown beside full absorption, wherever that stands. A word is fully absorbed only if its letter's latents are silent
# and one other latent has 40% of the probe's direction: so the more latents are active the fewer such words there are,
# by construction. The fraction also counts words for which the letter's latents fire too little, and up to three
# absorbing latents; SAEBench's own graphs show it as the absorption score. A letter that is not split has 1 latent.
BESIDE_ABSORPTION = (
    Metric(
        *("absorption_fraction", "Absorption Fraction", "absorption.mean_absorption_fraction_score"),
        inverted=True,
        l0=SCORED_L0["absorption"],
    ),
    Metric(
        *("split_features", "Split Features", "absorption.mean_num_split_features"),
        percent=False,
        lower_is_better=True,
    ),
    Metric("best_latent", "Best Single Latent", "letters.best_latent_f1", l0=SCORED_L0["absorption"]),
)

SHOWN_ONLY = ("tpp", "scr")  # never judged: docs/inference.md

OOD = Metric("ood", "OOD AUC", "ood.auc", l0=SCORED_L0["OOD"])

# How an SAE reads tokens that corruptions leave untouched (docs/robustness.md), and absorption of properties of tokens.
_READ = "robustness.clean.l0"
ROBUSTNESS = (
    Metric("robust_latents", "Latents that Stay", "robustness.mean.jaccard", l0=_READ),
    Metric("robust_probes", "Change in Probe AUC", "robustness.mean.probe_auc_change", l0=_READ),
    Metric("parents", "Token Parents Found", "parents.mean.missed", inverted=True, l0=_READ),
    Metric("parents_absorption", "Token Parents, Full", "parents.mean.full_absorption", inverted=True, l0=_READ),
    Metric("parents_fraction", "Token Parents, Fraction", "parents.mean.absorption_fraction", inverted=True, l0=_READ),
)

# Of planted truths (scores/planted.json).
_COUNTED = "planted.l0"
PLANTED = (
    Metric("planted_parents", "Parents Found", "planted.missed", inverted=True, l0=_COUNTED),
    Metric("planted_absorption", "Not Absorbed", "planted.absorbed", inverted=True, l0=_COUNTED),
    Metric("planted_fraction", "Fraction Not Absorbed", "planted.absorption_fraction", inverted=True, l0=_COUNTED),
    Metric("planted_children", "Children's Cosine", "planted.children_cosine", l0=_COUNTED),
    Metric("planted_variance", "Variance Explained", "planted.explained_variance", l0=_COUNTED),
)


def endpoints(explained_variance: str, n: int, k: int) -> dict[str, Metric]:
    """The scores that section `analysis` may name: the paper's and ours."""
    ours = (BESIDE_ABSORPTION[0], BESIDE_ABSORPTION[2], OOD, *ROBUSTNESS, *PLANTED)
    return {metric.name: metric for metric in (*paper_metrics(explained_variance, n, k), *ours)}
