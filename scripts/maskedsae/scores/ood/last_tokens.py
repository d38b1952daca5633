"""The language model's residual stream at the last token of each text of the eight data sets."""

from collections import defaultdict
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from ...activations.language_models import LanguageModel, longest_text, read_facts, tokenizer_of
from ...activations.settings import ModelFacts
from ...jobs.compute import Compute
from ...jobs.device import check_device, set_threads
from ...jobs.errors import InputError
from ...jobs.files import write_bytes
from ...jobs.progress import Progress
from .activations import PARTS, to_bytes
from .datasets import LABELS, load, number_texts
from .settings import OodTexts


def token_ids(tokenizer: PreTrainedTokenizerBase, prompt: str, bos: bool, max_tokens: int) -> list[int]:
    """At most `max_tokens`, cut on the left; BOS, if there is one, stays first and is counted."""
    start = [tokenizer.bos_token_id] if bos else []
    ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids = start + ids[max(0, len(ids) - (max_tokens - len(start))) :]
    if not ids:
        raise InputError(f"ood: the prompt {prompt!r} has no token: set ood.bos to true")
    return ids


@torch.no_grad()
def last_residuals(model: LanguageModel, contexts: list[list[int]], batch_tokens: int) -> torch.Tensor:
    """(contexts, width) in float32. Contexts of one length share a batch, so nothing is padded."""
    by_length = defaultdict(list)
    for row, ids in enumerate(contexts):
        by_length[len(ids)].append(row)
    last = torch.empty(len(contexts), model.width)
    with Progress(f"{model.name}: OOD data sets", len(contexts), "texts") as progress:
        for length, rows in sorted(by_length.items()):
            for batch in torch.tensor(rows).split(max(1, batch_tokens // length)):
                residual = model.residual(torch.tensor([contexts[row] for row in batch]))
                last[batch] = residual[:, -1].float().cpu()
                progress.advance(len(batch))
    return last


def write_model_activations(path: str | Path, model_file: str | Path, settings: OodTexts, compute: Compute) -> None:
    """`model_file` is the language model's model.json."""
    write_activations(path, read_facts(model_file), settings, compute)


def write_activations(path: str | Path, facts: ModelFacts, settings: OodTexts, compute: Compute) -> None:
    check_device(compute.device)
    set_threads(compute.threads)
    tokenizer = tokenizer_of(facts)
    bos = facts.bos if settings.bos is None else settings.bos
    if bos and tokenizer.bos_token_id is None:
        raise InputError(f"ood.bos: the tokenizer of {facts.name} has no BOS: set it to false")
    max_tokens = min(settings.max_tokens, longest_text(facts))
    tensors, contexts = {}, []
    for name in LABELS:
        parts = load(name, settings.rows)
        numbers = number_texts(*(part.prompts for part in parts))
        for part, texts, number in zip(PARTS, parts, numbers, strict=True):
            contexts += [token_ids(tokenizer, prompt, bos, max_tokens) for prompt in texts.prompts]
            tensors[f"{name}/{part}/labels"] = torch.from_numpy(texts.labels)
            tensors[f"{name}/{part}/texts"] = torch.from_numpy(number)
    model = LanguageModel(facts, settings.dtype, compute.device)
    residuals = last_residuals(model, contexts, settings.batch_tokens)
    for name in LABELS:
        for part in PARTS:
            rows = len(tensors[f"{name}/{part}/labels"])
            tensors[f"{name}/{part}/x"], residuals = residuals[:rows].clone(), residuals[rows:]
    meanings = {name: [meaning for meaning, _, _ in classes] for name, classes in LABELS.items()}
    write_bytes(path, to_bytes(tensors, meanings))
