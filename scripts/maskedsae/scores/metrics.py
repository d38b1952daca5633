"""The paper's five metrics: their names, their keys in scores.csv, and the scale that the paper prints."""

from dataclasses import dataclass

ACHIEVED_L0 = "quality.l0"  # measured on clean text; the nominal one is in the path

EXPLAINED_VARIANCE = {
    "legacy": "core.explained_variance_legacy",
    "saebench": "core.explained_variance",
    "centred": "variance.centred",
}


@dataclass(frozen=True)
class Metric:
    """`key` is its name in scores.csv. Once scaled, higher is better for all five."""

    name: str
    label: str
    key: str
    inverted: bool = False  # SAEBench gives the share of absorbed features, the paper that of the others

    @property
    def file(self) -> str:
        """The stem of the score file that it is in."""
        return self.key.split(".")[0]

    def scaled(self, value: float) -> float:
        """As the paper prints it: percent."""
        return 100 * (1 - value if self.inverted else value)


def paper_metrics(explained_variance: str, n: int, k: int) -> list[Metric]:
    """In the paper's order; the configuration's section `report` chooses the number for each."""
    return [
        Metric("absorption", "Mean Full Absorption", "absorption.mean_full_absorption_score", inverted=True),
        Metric("explained_variance", "Explained Variance", EXPLAINED_VARIANCE[explained_variance]),
        Metric("sparse_probing", "Sparse Probing", f"sparse_probing.sae_top_{k}_test_accuracy"),
        Metric("tpp", "TPP", f"tpp.tpp_threshold_{n}_total_metric"),
        Metric("scr", "SCR", f"scr.scr_metric_threshold_{n}"),
    ]


def endpoints(explained_variance: str, n: int, k: int) -> dict[str, Metric]:
    """The scores that section `analysis` may name: the paper's and ours."""
    ours = [
        Metric(
            "absorption_fraction", "Absorption Fraction", "absorption.mean_absorption_fraction_score", inverted=True
        ),
        Metric("ood", "OOD AUC", "ood.auc"),
    ]
    return {metric.name: metric for metric in (*paper_metrics(explained_variance, n, k), *ours)}
