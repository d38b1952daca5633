"""The language model's residual stream at the last token of each text of the eight data sets."""

from collections import defaultdict
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedTokenizerBase

from ..errors import InputError
from ..files import write_bytes
from ..models import LanguageModel, tokenizer_of
from ..progress import Progress
from .activations import PARTS, to_bytes
from .datasets import LABELS, load, number_texts


def token_ids(tokenizer: PreTrainedTokenizerBase, prompt: str, bos: bool, max_tokens: int) -> list[int]:
    """At most `max_tokens`, cut off on the left; BOS, if there is one, stays first and counts."""
    start = [tokenizer.bos_token_id] if bos else []
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids = start + ids[max(0, len(ids) - (max_tokens - len(start))) :]
    if not ids:
        raise InputError(f"ood: the prompt {prompt!r} has no token: set ood.bos to true")
    return ids


@torch.no_grad()
def last_residuals(model: LanguageModel, contexts: list[list[int]], batch_tokens: int) -> torch.Tensor:
    """(contexts, width) in float32. Contexts of one length go together, so nothing is padded."""
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


def write_activations(path: str | Path, facts: dict, settings: dict, device: str) -> None:
    tokenizer = tokenizer_of(facts)
    reads = AutoConfig.from_pretrained(facts["path"] or facts["hub"], revision=facts["commit"]).max_position_embeddings
    bos = facts["bos"] if settings["bos"] is None else settings["bos"]
    if bos and tokenizer.bos_token_id is None:
        raise InputError(f"ood.bos: the tokenizer of {facts['name']} has no BOS: set it to false")
    max_tokens = min(settings["max_tokens"], reads)
    tensors, contexts = {}, []
    for name in LABELS:
        parts = load(name, settings["rows"])
        numbers = number_texts(*(part.prompts for part in parts))
        for part, texts, number in zip(PARTS, parts, numbers, strict=True):
            contexts += [token_ids(tokenizer, prompt, bos, max_tokens) for prompt in texts.prompts]
            tensors[f"{name}/{part}/labels"] = torch.from_numpy(texts.labels)
            tensors[f"{name}/{part}/texts"] = torch.from_numpy(number)
    model = LanguageModel(facts, settings["dtype"], device)
    left = last_residuals(model, contexts, settings["batch_tokens"])
    for name in LABELS:
        for part in PARTS:
            rows = len(tensors[f"{name}/{part}/labels"])
            tensors[f"{name}/{part}/x"], left = left[:rows].clone(), left[rows:]
    meanings = {name: [meaning for meaning, _, _ in classes] for name, classes in LABELS.items()}
    write_bytes(path, to_bytes(tensors, meanings))
