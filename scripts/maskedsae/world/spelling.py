"""SAEBench's first-letter task as training rows: "... cat has the first letter: C\n..." in token ids."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from .tokenizer import LETTERS, TEMPLATE

TEXT, WORD, TEMPLATE_TOKEN, ANSWER = range(4)  # what a token is

Ints = NDArray[Any]


class Speller:
    """Draws rows of solved first-letter lines over a tokenizer's alphabetic tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.ids_by_letter = alphabetic_ids(tokenizer)
        self.words = np.array([i for ids in self.ids_by_letter for i in ids])
        initials = np.repeat(np.arange(len(LETTERS)), [len(ids) for ids in self.ids_by_letter])
        answers = np.array([one_id(tokenizer, f" {letter}") for letter in LETTERS])
        self.answers = answers[initials]
        head, tail = TEMPLATE.removeprefix("{word}").split(" {letter}")
        self.head = tokenizer.encode(head, add_special_tokens=False)
        self.newline = one_id(tokenizer, tail)
        self.bos = tokenizer.bos_token_id
        self.always_bos = tokenizer.encode("")[:1] == [self.bos]

    def rows(self, count: int, length: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Token ids and kinds, (count, length) each; BOS leads all rows if the tokenizer adds it, else half."""
        per_line = len(self.head) + 3
        lines = -(-length // per_line)
        drawn = rng.integers(len(self.words), size=(count, lines))
        ids = np.empty((count, lines, per_line), dtype=np.int64)
        ids[..., 0] = self.words[drawn]
        ids[..., 1:-2] = self.head
        ids[..., -2] = self.answers[drawn]
        ids[..., -1] = self.newline
        kinds = np.full_like(ids, TEMPLATE_TOKEN)
        kinds[..., 0] = WORD
        kinds[..., -2] = ANSWER
        ids, kinds = ids.reshape(count, -1), kinds.reshape(count, -1)
        # SAEBench's prompt begins with a newline. Under Pythia, transformer-lens 2 put BOS before it and 3 does not.
        with_bos = rng.random(count) < (1.0 if self.always_bos else 0.5)
        starts = [[self.bos, self.newline] if bos else [self.newline] for bos in with_bos]
        ids = np.stack([np.append(start, row)[:length] for start, row in zip(starts, ids, strict=True)])
        kinds = np.stack(
            [np.append([WORD] * len(start), row)[:length] for start, row in zip(starts, kinds, strict=True)]
        )
        return ids, kinds


def alphabetic_ids(tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """The ids of tokens made of letters a to z alone, after at most one space, by initial: as SAEBench picks them."""
    ids_by_letter: list[list[int]] = [[] for _ in LETTERS]
    for token_id in range(len(tokenizer)):
        token = tokenizer.convert_ids_to_tokens(token_id)
        assert isinstance(token, str)  # a list only for a list
        word = tokenizer.convert_tokens_to_string([token]).removeprefix(" ")
        if word.isascii() and word.isalpha():
            ids_by_letter[LETTERS.index(word[0].upper())].append(token_id)
    return ids_by_letter


def one_id(tokenizer: PreTrainedTokenizerFast, text: str) -> int:
    token_id: int
    (token_id,) = tokenizer.encode(text, add_special_tokens=False)
    return token_id
