"""What is known of a token from its own text: its parents (properties that many tokens share), and its first letter."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

PARENTS: dict[str, Callable[[str], bool]] = {
    "capitalised": lambda text: text.strip()[:1].isupper(),
    "digit": lambda text: any(letter.isdigit() for letter in text),
    "leading_space": lambda text: text.startswith(" "),
    "punctuation": lambda text: bool(text.strip()) and not any(letter.isalnum() for letter in text),
}
NO_LETTER = -1


def strings(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int], special_ids: Sequence[int]) -> dict[int, str]:
    """The text of each token, with its space; of a special token, nothing.

    A tokenizer may drop the space of a text's first token, so each is decoded behind another.
    """
    (before,) = tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
    start = len(tokenizer.decode([before], clean_up_tokenization_spaces=False))
    ids = [int(number) for number in ids]
    texts = tokenizer.batch_decode([[before, number] for number in ids], clean_up_tokenization_spaces=False)
    return {number: "" if number in special_ids else text[start:] for number, text in zip(ids, texts, strict=True)}


def labels(texts: Sequence[str], parents: Iterable[str]) -> dict[str, NDArray[np.bool_]]:
    """For each parent, which tokens have it."""
    return {parent: np.array([PARENTS[parent](text) for text in texts], dtype=bool) for parent in parents}


def first_letters(texts: Sequence[str]) -> NDArray[np.int64]:
    """0 to 25 of a token of Latin letters, perhaps after a space, as in SAEBench's vocabulary; else NO_LETTER."""
    words = [text.removeprefix(" ").lower() for text in texts]
    spelled = [word.isalpha() and word.isascii() for word in words]
    return np.array(
        [ord(word[0]) - ord("a") if known else NO_LETTER for word, known in zip(words, spelled, strict=True)]
    )
