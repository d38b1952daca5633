"""The figures of a report: their names and titles."""

from collections.abc import Sequence

FIGURES = {
    "decides": "Scores at the sparsity that SAEs really have",
    "taken_apart": "What masking changes, taken apart",
    "figure1": "Probes out of distribution",
    "achieved_l0": "Sparsity on clean text",
    "metrics_nominal": "Scores at nominal l0",
    "tradeoff": "Absorption against explained variance",
    "auc_by_k": "Probes by number of latents",
    "ood_datasets": "Probes by data set",
    "convergence": "Loss and its variance",
    "training": "Training curves",
}

# Contrasts in words: first the paper's comparison and its parts, then what is left to masking.
CONTRASTS = {
    "nominal": "at equal nominal l0",
    "budget": "  of which budget",
    "context": "  of which context",
    "rest": "  of which neither alone",
    "matched": "at equal l0",
    "matched_there": "at equal l0, on its texts",
    "beyond_budget": "beyond budget",
    "control": "under the control trainer",
}

# Those that show all trainers side by side; of the others each trainer has its own.
OF_ALL_TRAINERS = ("decides", "taken_apart", "convergence")


def is_tradeoff(streams: Sequence[str]) -> bool:
    """Whether a table of these streams has a figure `tradeoff`: several corrupted ones besides the baseline."""
    return len(streams) >= 3
