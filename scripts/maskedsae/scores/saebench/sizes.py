"""Estimates of what SAEBench holds in memory and on disk: for jobs' resources, and for the check of free space."""

from collections.abc import Collection

from .settings import Evals


def positions_of_a_set(evals: Evals) -> int:
    """Tokens whose activations one probing set has in memory at once: five classes, half of each set's size."""
    probing = evals.sparse_probing
    texts = 5 * (probing.probe_train_set_size + probing.probe_test_set_size) // 2
    return texts * probing.context_length


def shared_positions(evals: Evals, asked: Collection[str]) -> int:
    """Tokens whose activations a model's SAEs share, roughly: every text of the probing sets, TPP's (five classes) and
    SCR's (of a pair, six ways to draw it), and the contexts that core reads."""
    paired, core = evals.scr_and_tpp, evals.core
    positions = (paired.train_set_size + paired.test_set_size) // 2 * paired.context_length
    batches = core.n_eval_reconstruction_batches + core.n_eval_sparsity_variance_batches
    of_each = {
        "core": batches * core.eval_batch_size_prompts * core.context_size,
        "sparse_probing": len(evals.sparse_probing.dataset_names) * positions_of_a_set(evals),
        "tpp": len(paired.dataset_names) * 5 * positions,
        "scr": sum(len(pairs) for pairs in paired.class_pairs.values()) * 6 * positions,
    }
    return sum(positions for name, positions in of_each.items() if name in asked)
