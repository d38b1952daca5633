"""Where probing's time goes, and other ways to train the same probes: AUC and CPU seconds beside the protocol's own.

    make demo
    .venv/bin/python benchmarks/probing.py

The probes read the demo's SAE on its eight data sets; "separable" is the same with eight latents that only class 1 has.
"""

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from maskedsae.scores.ood.activations import read_activations
from maskedsae.scores.ood.latents import Encoder, most_different
from maskedsae.scores.ood.probes import STRENGTHS, balanced_rows, fit, logistic_regression

MODEL = Path("results/demo/pythia-demo")
SAE = MODEL / "clean/matryoshka_batch_topk/l0_20/seed_0/sae"
KS, K = (1, 2, 4, 8, 16, 32, 64, 128), 128
TRAIN, VALIDATION, SEED, MAX_ITER = 1024, 100, 1, 1000


def data_sets() -> Iterator[tuple[str, Any, Any, Any, Any]]:
    """Name, training rows and labels, OOD rows and labels."""
    sets, _ = read_activations(MODEL / "ood" / "activations.safetensors")
    encode = Encoder(SAE)
    for name, parts in sets.items():
        labels = parts["train"].labels
        rows = balanced_rows(labels.numpy(), TRAIN, 42)
        latents = encode(parts["train"].x[rows])
        chosen = most_different(latents, labels[rows], K)
        shifted = encode(parts["ood"].x)[:, chosen].numpy()
        yield name, latents[:, chosen].numpy(), labels[rows].numpy(), shifted, parts["ood"].labels.numpy()


def separable(x: Any, labels: Any) -> Any:
    rng = np.random.default_rng(0)
    planted = (rng.random((len(x), 8)) < 0.7) * rng.exponential(20, (len(x), 8)) * labels[:, None]
    return np.concatenate([planted, x[:, 8:]], 1).astype(np.float32)


def liblinear(C: float) -> LogisticRegression:
    """Its L1 also takes the intercept, which a large scale makes negligible."""
    settings = {"solver": "liblinear", "intercept_scaling": 1000, "tol": 1e-6}
    return LogisticRegression(C=C, l1_ratio=1, random_state=SEED, max_iter=MAX_ITER, **settings)


def saga(C: float) -> LogisticRegression:
    return logistic_regression("l1", C, SEED, MAX_ITER)


def every_C(x: Any, labels: Any, make: Any = saga, warm: bool = False) -> tuple[Any, Any, Any]:
    """CPU seconds and validation AUC for each C, and the probe on all rows. `warm` starts from the next stronger C."""
    split, seconds, aucs = len(labels) - VALIDATION, np.zeros(10), np.zeros(10)
    model = make(1.0).set_params(warm_start=warm)
    for number in reversed(range(10)):
        start = time.process_time()
        model = model.set_params(C=STRENGTHS[number]) if warm else make(STRENGTHS[number])
        model.fit(x[:split], labels[:split])
        aucs[number] = roc_auc_score(labels[split:], model.predict_proba(x[split:])[:, 1])
        seconds[number] = time.process_time() - start
    order = np.random.RandomState(SEED).permutation(len(labels))
    return seconds, aucs, make(STRENGTHS[int(np.argmax(aucs))]).fit(x[order], labels[order])


def where() -> None:
    seconds = {k: sum(every_C(x[:, :k], labels)[0] for _, x, labels, _, _ in data_sets()) for k in KS}
    print("CPU seconds of the eight data sets, C from weak to strong")
    for k, row in seconds.items():
        print(f"k = {k:3d}: {row.sum():5.2f} =", *(f"{one:.2f}" for one in row), flush=True)


def others() -> None:
    ways: dict[str, tuple[Any, dict[str, Any]]] = {
        "float64": (np.float64, {}),
        "sparse rows": (csr_matrix, {}),
        "warm start": (np.asarray, {"warm": True}),
        "liblinear": (np.asarray, {"make": liblinear}),
    }
    for name, x, labels, shifted, shifted_labels in data_sets():
        usual, aucs, probe = every_C(x, labels)
        auc = roc_auc_score(shifted_labels, probe.predict_proba(shifted)[:, 1])
        for way, (form, settings) in ways.items():
            seconds, other_aucs, probe = every_C(form(x), labels, **settings)
            other = roc_auc_score(shifted_labels, probe.predict_proba(form(shifted))[:, 1])
            moved = np.argmax(other_aucs) - np.argmax(aucs)
            furthest = np.abs(other_aucs - aucs).max()
            print(
                f"{name} {way}: {seconds.sum():.2f} s, ratio {seconds.sum() / usual.sum():.2f}, C moves by {moved}, "
                f"validation AUC by up to {furthest:.4f}, OOD AUC by {other - auc:+.4f}",
                flush=True,
            )


def stopping() -> None:
    for name, x, labels, _, _ in data_sets():
        features = separable(x, labels)
        start = time.process_time()
        _, aucs, probe = every_C(features, labels)
        plain, start = time.process_time() - start, time.process_time()
        ours = fit(features, labels, "l1", VALIDATION, SEED, MAX_ITER)
        seconds = time.process_time() - start
        same = np.array_equal(ours.model.coef_, probe.coef_) and ours.validation_auc == aucs.max()
        print(f"{name} separable: all C {plain:.2f} s, fit {seconds:.2f} s, ratio {seconds / plain:.2f}, same: {same}")


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    with threadpool_limits(1):
        where()
        others()
        stopping()
