"""Small byte-level tokenizers like Pythia's and Gemma-2's, fit for SAEBench's first-letter task."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ..jobs.errors import InputError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
TEMPLATE = "{word} has the first letter: {letter}\n"  # SAEBench's prompt for absorption, and its answer
SAMPLE = 6_000  # documents to count pairs in: about 2M characters, which take 2 seconds
WORDS_PER_LETTER = 16  # SAEBench fits and tests one probe a letter on the words of the vocabulary: x, z, q need some
REPEATS = 3_000  # enough to put a word above the rarest merge of the sample

SPECIAL = {
    "gpt_neox": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
    "gemma2": {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"},
}


def train_tokenizer(
    corpus_path: str | Path, folder: str | Path, family: str, vocabulary: int
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of `vocabulary` entries on the corpus and save it as Hugging Face files in `folder`."""
    special = special_tokens(family)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = list(dict.fromkeys(special.values()))
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(name, special=True) for name in names],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = list(islice(read_texts(corpus_path), SAMPLE))
    tokenizer.train_from_iterator([*texts, *extra_texts(texts)], trainer)
    if family == "gemma2":  # as Gemma's: BOS before every text; Pythia's adds nothing
        bos = special["bos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    check(wrapped, vocabulary)
    wrapped.save_pretrained(folder)
    return wrapped


def special_tokens(family: str) -> dict[str, str]:
    if family not in SPECIAL:
        raise InputError(f"family: {family!r} is unknown: choose one of {', '.join(SPECIAL)}")
    return SPECIAL[family]


def read_texts(corpus_path: str | Path) -> Iterator[str]:
    with open(corpus_path, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]


def extra_texts(texts: list[str]) -> Iterator[str]:
    """What the sample has too little of: the mask, the first-letter task, and words with rare initials."""
    for _ in range(REPEATS):
        yield "wait ... what..."
        yield from (TEMPLATE.format(word="", letter=letter) for letter in LETTERS[:4])
    counts = Counter(word for text in texts for word in re.findall(r" [A-Za-z]{2,8}\b", text))
    for letter in LETTERS:
        words = [word for word, _ in counts.most_common() if word[1].upper() == letter][:WORDS_PER_LETTER]
        yield (f" {letter}" + "".join(words)) * REPEATS


def check(tokenizer: PreTrainedTokenizerFast, vocabulary: int) -> None:
    """SAEBench reads the word six tokens from the end, so each token of the template and each answer must be one."""
    single = ["...", " ...", " has", " the", " first", " letter", ":", "\n", *(f" {letter}" for letter in LETTERS)]
    split = [text for text in single if len(tokenizer.encode(text, add_special_tokens=False)) != 1]
    if split:
        raise InputError(f"vocabulary: {vocabulary} is too few for {split[0]!r} to be one token: ask for more")
