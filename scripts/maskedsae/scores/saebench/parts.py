"""One eval's part of what the SAEs of a language model share, made by SAEBench's own eval on a placeholder: an SAE of a
few random latents.

To be imported in a process that scores, and not in its parent (evals.py says why).
"""

from pathlib import Path
from typing import Any

import torch
from sae_bench.custom_saes.batch_topk_sae import BatchTopKSAE
from sklearn.metrics import f1_score

from ...activations.settings import ModelFacts
from ...jobs.errors import InputError
from . import evals
from .checks import LoggedErrors, check_result, usable
from .names import RECORDED
from .recorded import RecordedCalls
from .settings import Bench

# After evals.py, which makes these imports quick.
from sae_bench.evals.absorption.common import load_or_train_probe, load_probe, load_probe_data_split  # isort: skip
from sae_bench.evals.absorption.vocab import LETTERS  # isort: skip

PLACEHOLDER_LATENTS = 64  # more than any k that is asked for


def make_part(
    eval_name: str, bench: Bench, facts: ModelFacts, model: Any, work: Path, folder: Path, device: str
) -> dict[str, Any] | None:
    """Make the part in `folder`; for absorption, the F1 of each letter is returned. There the probes are made first:
    the eval then draws its words with the probes ready, as it does for every SAE."""
    errors = LoggedErrors()
    evals.prepare(eval_name, bench, model, device, work, folder / "probes")
    sae = placeholder_sae(facts.name, facts.width, facts.layer, bench.dtype, device)
    letters = None
    if eval_name == "absorption":
        letters = _letters(bench, facts, model, folder, device)
    calls = folder / f"{eval_name}_calls"
    recorded = RecordedCalls(model, calls, facts.layer, record=True) if eval_name in RECORDED else None
    path = evals.run(eval_name, bench, "placeholder", sae, device)
    if recorded:
        recorded.close()
    check_result(eval_name, path, bench.evals, errors.lines)
    return letters


def _letters(bench: Bench, facts: ModelFacts, model: Any, folder: Path, device: str) -> dict[str, float]:
    """Train SAEBench's first-letter probes, and check them as absorption will."""
    absorption = bench.evals.absorption
    evals.seed_all(bench.evals.seed)
    try:
        load_or_train_probe(
            model,
            base_template=absorption.prompt_template,
            pos_idx=absorption.prompt_token_pos,
            layer=facts.layer,
            probes_dir=folder / "probes",
            device=device,
        )
        found = f1_of_letters(model, facts, folder)
    except (ValueError, IndexError) as error:
        raise InputError(
            f"SAEBench's first-letter probes cannot be made ({error}): the tokenizer of {facts.name} may have too "
            "few words for some letter: choose a model with a larger vocabulary"
        ) from error
    good, needed = usable(found, bench.evals), absorption.min_feats_for_eval
    if len(good) < needed:
        raise InputError(
            f"the language model {facts.name} spells only {len(good)} first letters with F1 over "
            f"{absorption.min_GT_probe_f1} at layer {facts.layer} ({', '.join(good) or 'none'}), and absorption "
            f"needs {needed}: choose a larger model or another layer, or lower saebench.absorption.min_feats_for_eval"
        )
    return found


def f1_of_letters(model: Any, facts: ModelFacts, folder: Path) -> dict[str, float]:
    """As SAEBench's absorption computes it: a probe's score above 0 counts as the letter, on the test words."""
    # In absorption's own number format: bfloat16 where there is a GPU, else float32.
    place = {"layer": facts.layer, "probes_dir": folder / "probes", "device": "cpu"}
    probe = load_probe(facts.name, **place)
    activations, words = load_probe_data_split(model, split="test", **place)
    truth = torch.tensor([label for _, label in words])
    with torch.no_grad():
        scores = probe(activations)
    return {
        letter: float(f1_score(truth == number, scores[:, number] > 0, zero_division=0))
        for number, letter in enumerate(LETTERS)
    }


def placeholder_sae(name: str, width: int, layer: int, dtype: str, device: str) -> BatchTopKSAE:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(PLACEHOLDER_LATENTS, width, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    kind = getattr(torch, dtype)
    sae = BatchTopKSAE(width, PLACEHOLDER_LATENTS, 8, name, layer, device=torch.device("cpu"), dtype=kind)
    state = {"W_enc": directions.T.contiguous(), "W_dec": directions, "threshold": torch.tensor(0.0)}
    sae.load_state_dict(sae.state_dict() | state)
    sae.cfg.architecture = "batch_topk"
    return sae.to(device=torch.device(device), dtype=kind)
