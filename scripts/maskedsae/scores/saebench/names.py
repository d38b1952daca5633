"""Names and numbers that the workflow needs too; importing this imports nothing else."""

from collections.abc import Collection

EVALS = ("absorption", "core", "sparse_probing", "tpp", "scr")
# The files that an eval gives: SAEBench's own, and ours. What each calls `l0` becomes a part of one file of that name.
OURS = {"absorption": ("letters", "l0"), "core": ("variance", "l0")}
GIVES = {name: (name, *OURS.get(name, ("l0",))) for name in EVALS}
SCORES = (*EVALS, "variance", "letters", "l0")
SECTIONS = {"tpp": "scr_and_tpp", "scr": "scr_and_tpp"}  # of the settings, where it has not the eval's name
RECORDED = ("absorption", "core")  # evals that have no cache of activations of their own

# What each eval can be asked for; SAEBench silently drops other values.
N_VALUES = (2, 5, 10, 20, 50, 100, 500)
K_VALUES = (1, 2, 5, 10, 20, 50, 100)

# Data sets with two labels, for SCR and TPP; and all that SAEBench has a reader for.
PAIRED = ("LabHC/bias_in_bios_class_set1", "canrager/amazon_reviews_mcauley_1and5")
PROBED = (
    *("LabHC/bias_in_bios_class_set1", "LabHC/bias_in_bios_class_set2", "LabHC/bias_in_bios_class_set3"),
    *("canrager/amazon_reviews_mcauley_1and5", "canrager/amazon_reviews_mcauley_1and5_sentiment"),
    *("codeparrot/github-code", "fancyzhx/ag_news", "Helsinki-NLP/europarl"),
)


def given_by(evals: Collection[str]) -> tuple[str, ...]:
    """The stems of the score files that these evals give."""
    return tuple(score for score in SCORES if any(score in GIVES[name] for name in evals))


def set_of(name: str) -> str:
    """The data set on the hub. SAEBench's own names are longer: with a set of classes, or with the label's column."""
    return name.split("_class_set")[0].removesuffix("_sentiment")
