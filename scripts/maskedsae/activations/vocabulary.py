"""What corruptions know about a language model's tokens: its tokenizer, and how often each occurs in the text."""

import unicodedata
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from ..text.tokens import Tokens
from .corruptions.base import Ids
from .language_models import mask_token, tokenizer_of
from .settings import ModelFacts

COUNTED = 2**22  # tokens at a time


class ModelVocabulary:
    """Also for texts that nothing is trained on: `corruption.corrupt(contexts, numbers, seed, ModelVocabulary(…))`.

    `tokens` are the text whose training contexts are counted; nothing is loaded or counted before a corruption asks.
    """

    def __init__(self, facts: ModelFacts, tokens: Tokens):
        self._facts, self._tokens = facts, tokens
        self.mask_id, self.special_ids = facts.mask_id, facts.special_ids
        self.token_id = cache(self._token_id)

    @cached_property
    def counts(self) -> Ids:
        """How often each token occurs in the training contexts (1.5 s for 500M)."""
        found = np.zeros(self._facts.vocabulary, np.int64)
        at_once = max(1, COUNTED // self._tokens.context_length)
        for start in range(0, self._tokens.n_train, at_once):
            contexts = self._tokens.contexts(start, min(start + at_once, self._tokens.n_train))
            found += np.bincount(contexts.flatten(), minlength=len(found))
        return found

    @cached_property
    def word_edges(self) -> NDArray[np.bool_]:
        """2 x tokens: whether a token's text begins, and ends, with a character of a word: a letter, a digit or an
        accent, or a part of a character that is several tokens, whatever it is. Of special tokens neither does."""
        tokenizer = tokenizer_of(self._facts)
        # Behind another token, since a sentencepiece tokenizer drops a text's first space.
        texts = tokenizer.batch_decode(
            [[self.mask_id, number] for number in range(self._facts.vocabulary)], clean_up_tokenization_spaces=False
        )
        before = len(tokenizer.decode([self.mask_id]))
        texts = [text[before:] for text in texts]
        edges = np.array([[in_word(text[:1]) for text in texts], [in_word(text[-1:]) for text in texts]])
        edges[:, list(self.special_ids)] = False
        return edges

    def _token_id(self, string: str) -> int:
        return mask_token(self._facts.name, tokenizer_of(self._facts), string, "streams: corruption.string")


def in_word(character: str) -> bool:
    return character == "\ufffd" or unicodedata.category(character or " ")[0] in "LMN"
