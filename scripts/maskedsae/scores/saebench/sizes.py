"""Estimates of what SAEBench holds in memory and on disk: for jobs' resources, and for the check of free space."""

from .settings import Evals


def positions_of_a_set(evals: Evals) -> int:
    """Tokens whose activations one probing set has in memory at once: five classes, half of each set's size."""
    probing = evals.sparse_probing
    texts = 5 * (probing.probe_train_set_size + probing.probe_test_set_size) // 2
    return texts * probing.context_length


def shared_positions(evals: Evals) -> int:
    """Tokens whose activations a model's SAEs share, roughly: every text of the probing sets, TPP's and SCR's (of a
    pair, six ways to draw it), and the contexts that core reads."""
    probing, paired, core = evals.sparse_probing, evals.scr_and_tpp, evals.core
    draws = sum(len(pairs) for pairs in paired.class_pairs.values()) * 6 + len(paired.dataset_names) * 5
    texts = draws * (paired.train_set_size + paired.test_set_size) // 2
    batches = core.n_eval_reconstruction_batches + core.n_eval_sparsity_variance_batches
    contexts = batches * core.eval_batch_size_prompts
    return (
        len(probing.dataset_names) * positions_of_a_set(evals)
        + texts * paired.context_length
        + contexts * core.context_size
    )
