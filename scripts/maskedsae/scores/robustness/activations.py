"""Held-out text through the language model, clean and corrupted, with what is known of each token."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...activations.corruptions.base import REPLACED, Corrupted, Ids
from ...activations.language_models import LanguageModel, read_facts, tokenizer_of
from ...activations.vocabulary import ModelVocabulary
from ...jobs.compute import Compute
from ...jobs.device import check_device, set_threads
from ...jobs.errors import InputError
from ...jobs.files import write_bytes
from ...jobs.log import log
from ...text.tokens import Tokens
from .corruptions import Reader, corrupt
from .labels import first_letters, labels, strings
from .probes import fit
from .settings import RobustnessTexts
from .texts import Reading, Rows, Texts, spelled, to_bytes

Places = NDArray[np.int64]  # numbers of positions, counted through all contexts

FEWEST = 20  # rows with a parent, and without it, in each half


def write_activations(
    path: str | Path, model_file: str | Path, manifest: str | Path, settings: RobustnessTexts, compute: Compute
) -> None:
    check_device(compute.device)
    set_threads(compute.threads)
    facts = read_facts(model_file)
    model = LanguageModel(facts, settings.dtype, compute.device)
    tokens = Tokens.open(Path(manifest).parent, verify=False)
    texts = read_all(
        model, tokens, Reader(facts, tokenizer_of(facts), vocabulary=ModelVocabulary(facts, tokens)), settings
    )
    write_bytes(path, to_bytes(texts, getattr(torch, settings.dtype)))
    counts = ", ".join(f"{name} {len(reading.x):,}" for name, reading in texts.corrupted.items())
    log.info("%s: %d clean tokens; of these, untouched: %s", facts.name, len(texts.test.x), counts)


def read_all(model: LanguageModel, tokens: Tokens, reader: Reader, settings: RobustnessTexts) -> Texts:
    half = settings.contexts // 2
    first, second = tokens.heldout(0, half), tokens.heldout(half, 2 * half)
    numbers = range(half, 2 * half)
    train = clean_rows(model, first, drawn(first, reader, settings), reader, settings)
    places = drawn(second, reader, settings)
    test = clean_rows(model, second, places, reader, settings)
    for part, rows in (("learn from", train), ("test on", test)):
        check_labels(part, rows, settings)

    def reading(made: Corrupted) -> Reading:
        return read_corrupted(model, made, places, settings.lm_batch)

    corrupted = {
        damage.name: reading(corrupt(damage, second, numbers, settings.seed, reader)) for damage in settings.corruptions
    }
    streams = {
        spelled(corruption): reading(corruption.corrupt(second, numbers, settings.seed, reader.vocabulary))
        for corruption in settings.streams
    }
    probes = {parent: fit(train.x, labelled, settings.seed) for parent, labelled in train.labels.items()}
    return Texts(train, test, corrupted, streams, probes)


def drawn(contexts: Ids, reader: Reader, settings: RobustnessTexts) -> Places:
    """At most `rows` positions, without special tokens and the first of each context, an attention sink in any text."""
    measured = ~np.isin(contexts, reader.facts.special_ids)
    measured[:, 0] = False
    places = np.flatnonzero(measured)
    count = min(settings.rows, len(places))
    return np.sort(np.random.default_rng(settings.seed).choice(places, count, replace=False))


def clean_rows(model: LanguageModel, contexts: Ids, places: Places, reader: Reader, settings: RobustnessTexts) -> Rows:
    ids = contexts.flatten()[places]
    known = strings(reader.tokenizer, np.unique(ids), reader.facts.special_ids)
    texts = [known[number] for number in ids.tolist()]
    found = {parent: torch.from_numpy(has) for parent, has in labels(texts, settings.parents).items()}
    x = residuals(model, contexts, places, settings.lm_batch)
    return Rows(x, found, torch.from_numpy(first_letters(texts)))


def check_labels(part: str, rows: Rows, settings: RobustnessTexts) -> None:
    for parent, has in rows.labels.items():
        fewer = min(int(has.sum()), int((~has).sum()))
        if fewer < FEWEST:
            raise InputError(
                f"robustness.parents: {parent}: of {len(has):,} tokens to {part}, {int(has.sum()):,} have it, and at "
                f"least {FEWEST} must have it and {FEWEST} not: take it out of the list, or raise robustness.rows or "
                "robustness.contexts"
            )


def read_corrupted(model: LanguageModel, made: Corrupted, places: Places, lm_batch: int) -> Reading:
    """The clean tokens at `places` where they now are. A token that nothing has changed before is left out: a causal
    model reads it as before."""
    contexts, length = made.tokens.shape
    positions = np.arange(length)
    behind_a_change = np.logical_or.accumulate(made.source != positions, axis=1)
    kept = (made.source >= 0) & behind_a_change & (positions > 0)
    now = np.full(contexts * length, -1)
    context, position = np.nonzero(kept)
    now[context * length + made.source[kept]] = context * length + position
    rows = np.flatnonzero(now[places] >= 0)
    if not len(rows):
        raise InputError("robustness: a corruption leaves no token untouched behind a change: raise robustness.rows")
    replaced = places[made.source.flatten()[places] == REPLACED]
    x = residuals(model, made.tokens, np.concatenate([now[places[rows]], replaced]), lm_batch)
    return Reading(x[: len(rows)], torch.from_numpy(rows), x[len(rows) :])


def residuals(model: LanguageModel, contexts: Ids, places: Places, lm_batch: int) -> torch.Tensor:
    """(places, width) in float32, in the order of `places`."""
    x = torch.empty(len(places), model.width)
    per_pass = lm_batch * contexts.shape[1]
    for start in range(0, len(contexts), lm_batch):
        batch = torch.from_numpy(contexts[start : start + lm_batch])
        here = np.flatnonzero(places // per_pass == start // lm_batch)
        if len(here):
            flat = model.residual(batch).flatten(0, 1)
            found = torch.from_numpy(places[here] - start * contexts.shape[1]).to(flat.device)
            x[torch.from_numpy(here)] = flat.index_select(0, found).float().cpu()
    return x
