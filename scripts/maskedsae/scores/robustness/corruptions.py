"""Corruptions that only test: typos, random tokens and a lost beginning; and all those that streams can have."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from ...activations.corruptions.base import (
    ABSENT,
    REPLACED,
    Corrupted,
    Corruption,
    Ids,
    Vocabulary,
    touched,
    uniforms,
)
from ...activations.settings import ModelFacts
from .labels import strings
from .settings import Damage

# A word of one or more tokens: letters, perhaps after a space. Shorter ones are often not recognisable afterwards.
WORD = re.compile(r" ?[^\W\d_]{3,}")
PIECE = re.compile(r"[^\W\d_]+")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
OTHER_DRAWS = 2**32  # added to a seed, it gives numbers that no stream's seed gives


@dataclass(frozen=True)
class Reader:
    """What a corruption may know about the language model."""

    facts: ModelFacts
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary  # for the kinds that streams can have


def corrupt(damage: Damage, contexts: Ids, numbers: Sequence[int], seed: int, reader: Reader) -> Corrupted:
    if own := OWN.get(damage.kind):
        return own(damage.p, contexts, numbers, seed, reader)
    made = Corruption.from_plain({"kind": damage.kind, "p": damage.p})
    return made.corrupt(contexts, numbers, seed, reader.vocabulary)


def random_tokens(p: float, contexts: Ids, numbers: Sequence[int], seed: int, reader: Reader) -> Corrupted:
    """Each token becomes, with probability p, one that is drawn uniformly from the vocabulary."""
    chosen = touched(p, contexts, numbers, seed, reader.facts.special_ids)
    ordinary = np.setdiff1d(np.arange(reader.facts.vocabulary), reader.facts.special_ids)
    drawn = ordinary[(uniforms(seed + OTHER_DRAWS, numbers, contexts.shape[1]) * len(ordinary)).astype(np.int64)]
    places = np.broadcast_to(np.arange(contexts.shape[1]), contexts.shape)
    return Corrupted(np.where(chosen, drawn, contexts), np.where(chosen, REPLACED, places))


def cut(p: float, contexts: Ids, numbers: Sequence[int], seed: int, reader: Reader) -> Corrupted:
    """The first p of each context is lost; BOS, if it starts with one, stays. The rest moves to the front."""
    length = contexts.shape[1]
    places = [np.arange(round(p * length), length) for _ in contexts]
    if reader.facts.bos:
        places = [np.unique([0, *kept]) for kept in places]
    return _filled_up(contexts, [(context[kept], kept) for context, kept in zip(contexts, places, strict=True)])


def typos(p: float, contexts: Ids, numbers: Sequence[int], seed: int, reader: Reader) -> Corrupted:
    """Each word of three letters or more is misspelt with probability p, and tokenised again.

    Its tokens become those of the misspelt word, which may be fewer or more; the others keep their order. A word that
    the tokenizer cuts in another way when it stands alone is left as it is, so that nothing else changes.
    """
    known = strings(reader.tokenizer, np.unique(contexts), reader.facts.special_ids)
    draws = (uniforms(seed + turn * OTHER_DRAWS, numbers, contexts.shape[1]) for turn in range(4))
    changed = []
    for context, chance, *how in zip(contexts, *draws, strict=True):
        tokens, source, end = [], [], 0
        for start, stop in _words([known[token] for token in context.tolist()]):
            word = "".join(known[token] for token in context[start:stop].tolist())
            if chance[start] >= p or not WORD.fullmatch(word):
                continue
            if _ids(reader.tokenizer, word) != context[start:stop].tolist():
                continue
            misspelt = _ids(reader.tokenizer, misspell(word, *(draw[start] for draw in how)))
            tokens += [context[end:start], misspelt]
            source += [np.arange(end, start), np.full(len(misspelt), REPLACED)]
            end = stop
        tokens.append(context[end:])
        source.append(np.arange(end, len(context)))
        changed.append((np.concatenate(tokens), np.concatenate(source)))
    return _filled_up(contexts, changed)


def misspell(word: str, how: float, where: float, which: float) -> str:
    """One letter swapped with the next, replaced by another, or left out; `how`, `where`, `which` are in [0, 1)."""
    first = len(word) - len(word.lstrip())
    places = range(first, len(word))
    if how < 1 / 3:
        swaps = [place for place in places[:-1] if word[place] != word[place + 1]]
        if swaps:  # a word of one repeated letter has none: it loses one
            place = swaps[int(where * len(swaps))]
            return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    place = places[int(where * len(places))]
    others = LETTERS.replace(word[place].lower(), "")
    letter = others[int(which * len(others))] if 1 / 3 <= how < 2 / 3 else ""
    return word[:place] + (letter.upper() if word[place].isupper() else letter) + word[place + 1 :]


def _words(pieces: list[str]) -> list[tuple[int, int]]:
    """(start, stop) of runs of tokens that are letters only; a token with a space before its letters starts one."""
    words: list[tuple[int, int]] = []
    for place, piece in enumerate(pieces):
        goes_on = PIECE.fullmatch(piece) and words and words[-1][1] == place
        if goes_on:
            words[-1] = (words[-1][0], place + 1)
        elif PIECE.fullmatch(piece.removeprefix(" ")):
            words.append((place, place + 1))
    return words


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _filled_up(contexts: Ids, changed: list[tuple[Ids, NDArray[np.int64]]]) -> Corrupted:
    """Of each (tokens, their sources), as many as a context has; where they are fewer, the rest is a filler."""
    tokens, source = np.repeat(contexts[:, -1:], contexts.shape[1], axis=1), np.full_like(contexts, ABSENT)
    for row, (ids, places) in enumerate(changed):
        count = min(len(ids), contexts.shape[1])
        tokens[row, :count], source[row, :count] = ids[:count], places[:count]
    return Corrupted(tokens, source)


OWN: dict[str, Callable[[float, Ids, Sequence[int], int, Reader], Corrupted]] = {
    "typo": typos,
    "random": random_tokens,
    "cut": cut,
}
