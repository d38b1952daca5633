"""Train a small language model on the demo's corpus and perhaps on the first-letter task, and save it as Hugging Face
does."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..jobs.device import set_threads
from ..jobs.errors import InputError
from ..jobs.log import log
from ..jobs.progress import Progress
from .architectures import build_model, scale_residual_stream, share_letters
from .settings import LanguageModelSettings, LanguageModelTraining
from .spelling import ANSWER, TEMPLATE_TOKEN, TEXT, Ints, Speller
from .tokenizer import read_texts, train_tokenizer

LOSS_WEIGHTS = {TEXT: 1.0, ANSWER: 0.5, TEMPLATE_TOKEN: 0.2}  # of the mean over the tokens of a kind; words have none
RESIDUAL_RMS = 16.0  # of the finished model; scale_residual_stream says why
WARMUP = 20  # steps


def train_language_model(
    corpus_path: str | Path, config_file: str | Path, settings: LanguageModelSettings, threads: int
) -> None:
    """Train tokenizer and model into the folder of `config_file`.

    The same arguments, versions and threads give the same bytes.
    """
    family, size, seed = settings.family, settings.training, settings.seed
    set_threads(threads)
    folder = Path(config_file).parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        tokenizer = train_tokenizer(corpus_path, temporary, family, size.vocabulary)
        torch.manual_seed(seed)
        model = build_model(family, tokenizer, size.layers, size.width, size.heads, size.context)
        train(model, tokenizer, corpus_path, size, seed)
        transformers.logging.disable_progress_bar()  # for the one file that is written next
        model.save_pretrained(temporary)
        publish(Path(temporary), folder)


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    corpus_path: str | Path,
    settings: LanguageModelTraining,
    seed: int,
) -> None:
    speller = Speller(tokenizer) if settings.spelling_rows else None
    if speller:
        share_letters(model, speller.ids_by_letter)
    text = text_rows(tokenizer, corpus_path, settings)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, settings.steps))
    history = []
    model.train()
    with Progress(f"{model.config.model_type} language model", settings.steps, "steps") as progress:
        for rows in text.reshape(settings.steps, -1, settings.context):
            all_rows, all_kinds = rows, np.full_like(rows, TEXT)
            if speller:
                spelling, kinds_of_spelling = speller.rows(settings.spelling_rows, settings.context, rng)
                all_rows = np.concatenate([rows, spelling])
                all_kinds = np.concatenate([all_kinds, kinds_of_spelling])
            ids = torch.from_numpy(all_rows)
            losses = losses_by_kind(model, ids, torch.from_numpy(all_kinds))
            optimizer.zero_grad()
            total = sum(LOSS_WEIGHTS[kind] * loss for kind, loss in losses.items())
            assert isinstance(total, torch.Tensor)  # and not the 0 of an empty sum
            total.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            history.append([losses[kind].item() for kind in (TEXT, ANSWER) if kind in losses])
            progress.advance(1, _in_words(history[-1]))
    last_tenth = history[-settings.steps // 10 :]
    family = model.config.model_type
    log.info("%s language model: %s at the end", family, _in_words(np.mean(last_tenth, axis=0)))
    model.eval()
    scale_residual_stream(model, RESIDUAL_RMS / residual_rms(model, ids))


def _in_words(losses: Sequence[float]) -> str:
    return ", ".join(f"loss of {what} {loss:.2f}" for what, loss in zip(("text", "letters"), losses, strict=False))


def text_rows(tokenizer: PreTrainedTokenizerBase, corpus_path: str | Path, settings: LanguageModelTraining) -> Ints:
    """Enough rows of packed text for the run, in the corpus's order; each begins with BOS if the tokenizer adds it."""
    lead = tokenizer.encode("")
    length = settings.context - len(lead)
    rows = settings.steps * (settings.batch - settings.spelling_rows)
    stream = []
    for text in read_texts(corpus_path):
        stream += [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        if len(stream) >= rows * length:
            packed = np.array(stream[: rows * length]).reshape(rows, length)
            return np.concatenate([np.tile(lead, (rows, 1)).astype(packed.dtype), packed], axis=1)
    raise InputError(f"{corpus_path}: {len(stream):,} tokens, but training needs {rows * length:,}: ask for more text")


def rate(step: int, steps: int) -> float:
    share: float = min((step + 1) / WARMUP, 0.5 * (1 + np.cos(np.pi * step / steps)))
    return share


def losses_by_kind(model: PreTrainedModel, ids: torch.Tensor, kinds: torch.Tensor) -> dict[int, torch.Tensor]:
    """Mean next-token loss of each kind of token. Words of the first-letter task are random: nothing to learn there."""
    logits = model(input_ids=ids[:, :-1]).logits
    losses = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    kinds = kinds[:, 1:].flatten()
    return {kind: losses[kinds == kind].mean() for kind in LOSS_WEIGHTS if (kinds == kind).any()}


@torch.no_grad()
def residual_rms(model: PreTrainedModel, ids: torch.Tensor) -> float:
    """RMS of the middle layer's output (2 of 0 to 3), without the first position, which is often an outlier."""
    layers = model.config.num_hidden_layers
    middle = min(layers // 2 + 1, layers - 1)  # hidden_states begins with the embedding and ends after the final norm
    states = model(input_ids=ids, output_hidden_states=True).hidden_states[middle]
    rms: float = states[:, 1:].pow(2).mean().sqrt().item()
    return rms


def publish(temporary: Path, folder: Path) -> None:
    """Move the files into place, config.json last: without it no loader takes the folder for a model."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    for path in sorted(temporary.iterdir(), key=lambda path: path.name == "config.json"):
        os.replace(path, folder / path.name)
