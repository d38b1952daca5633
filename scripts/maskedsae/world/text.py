"""The demo's corpus: running text from the data sets that sae-probes ships, without the eight that OOD probing uses."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from ..jobs.errors import InputError
from ..jobs.files import write_bytes
from ..jobs.log import log
from ..text.sae_probes_data import OOD_SETS, data_folder

# 106 and 107 collect slurs; 112 ("amzn_rev") is 111 (Yelp reviews) row for row.
LEFT_OUT = ("106_hate_hate", "107_hate_offensive", "112_amzn_rev")
# In these, `target` 1 marks what the name says; the other half is other programming languages, the same in all six.
ONE_KIND = ("158_code_C", "159_code_Python", "160_code_HTML", "161_agnews_0", "162_agnews_1", "163_agnews_2")

SHORTEST = 80  # characters: below it the sets hold names, headlines and sums, not running text
LONGEST = 2_000  # of one document, so that no source is a handful of long ones (cancer papers are 8,192 each)
MOST_PER_SOURCE = 1_000_000  # characters: no programming language or paper collection may fill the corpus

Item = TypeVar("Item")


def read_prompts(path: Path) -> list[str]:
    """The distinct prompts of one data set, in the file's order."""
    rows = pd.read_csv(path, dtype={"prompt": str})
    if path.name.split(".")[0] in ONE_KIND:
        rows = rows[rows["target"] == 1]
    prompts: list[str] = rows["prompt"].dropna().drop_duplicates().tolist()
    return prompts


def ood_prompts() -> set[str]:
    """Every prompt that OOD probing trains or tests on: other sets repeat many of them under another name."""
    data = data_folder()
    prompts = set()
    for name in OOD_SETS:
        prompts.update(read_prompts(data / "cleaned_data" / f"{name}.csv.zst"))
        prompts.update(read_prompts(data / "OOD data" / f"{name}_OOD.csv.zst"))
    return prompts


def running_text() -> dict[str, list[str]]:
    """Documents by source; a text that several sources hold belongs to the first of them by name."""
    seen = ood_prompts()
    documents = {}
    for path in sorted((data_folder() / "cleaned_data").glob("*.csv.zst")):
        source = path.name.removesuffix(".csv.zst")
        if source in OOD_SETS + LEFT_OUT:
            continue
        fresh = [prompt for prompt in read_prompts(path) if len(prompt) >= SHORTEST and prompt not in seen]
        seen.update(fresh)
        if fresh:
            documents[source] = [prompt[:LONGEST] for prompt in fresh]
    return documents


def write_corpus(path: str | Path, characters: int, seed: int) -> None:
    """Write about `characters` characters of documents in random order, one JSON object {"text", "source"} a line."""
    rng = random.Random(seed)
    pool = []
    for source, texts in running_text().items():
        rng.shuffle(texts)
        pool += [(source, text) for text in take(texts, MOST_PER_SOURCE)]
    rng.shuffle(pool)
    chosen = take(pool, characters, length=lambda document: len(document[1]))
    if len(chosen) == len(pool):
        total = sum(len(text) for _, text in pool)
        raise InputError(f"characters: {characters:,} asked for, but sae-probes gives {total:,}: ask for fewer")
    lines = (json.dumps({"text": text, "source": source}, ensure_ascii=False) + "\n" for source, text in chosen)
    write_bytes(path, "".join(lines).encode("utf-8", errors="replace"))
    log.info("corpus: %d documents of %d sources", len(chosen), len({source for source, _ in chosen}))


def take(items: list[Item], characters: int, length: Callable[[Any], int] = len) -> list[Item]:
    """The first items, until they hold `characters` characters."""
    total = 0
    for count, item in enumerate(items):
        if total >= characters:
            return items[:count]
        total += length(item)
    return items
