"""Stand-ins for SAEBench's data sets: real texts that sae-probes ships, in the same form, with labels of their own.

SAEBench's classes are fixed numbers and names; what stands in for each is below, and docs/saebench_data.md says what
this can show. No text of the eight OOD sets is used, and texts that the language models trained on come last.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..jobs.errors import InputError
from ..jobs.leases import Lease
from ..scores.saebench.datasets import Folder, write_code, write_europarl, write_splits
from ..scores.saebench.rows import AMAZON, BIOS, CODE, EUROPARL, LANGUAGE_PAIRS, NEWS, Needs, Sizes
from ..scores.saebench.settings import Texts
from ..text.corpus import documents
from ..text.settings import Corpus
from . import labelled
from .text import LONGEST, ood_prompts

# bias_in_bios: the professions that an occupation stands in for. Journalists stand for themselves, researchers for
# professors; each of SAEBench's three sets of classes and four SCR pairs has different occupations in it.
PROFESSIONS = {
    "journalist": (6, 11, 20),
    "athlete": (19, 25),
    "actor": (0, 13, 26),
    "politician": (2,),
    "singer": (1, 14, 22),
    "researcher": (9, 18, 21),
}
GENDERS = {"male": 0, "female": 1}

# amazon_reviews: the categories that a kind of review stands in for. The two of an SCR pair differ.
CATEGORIES = {
    "Yelp review": (1, 18),
    "Amazon review": (2, 11, 30),
    "sentence of a film review": (3, 24),
    "tweet": (5, 26),
    "phrase of a film review": (6,),
}
RATINGS = {"negative": 1.0, "positive": 5.0}

TOPICS = {0: "world", 1: "sports", 2: "business", 3: "science and technology"}  # ag_news itself

# europarl: Chinese for German and Portuguese for Dutch, of which all of sae-probes has some 40 and 60 sentences.
LANGUAGES = {"en": "English", "fr": "French", "de": "Chinese", "es": "Spanish", "nl": "Portuguese"}


class Supply:
    """Texts by kind, in random order, each handed out once; those that the language models trained on come last."""

    def __init__(self, corpus: Path | None, seed: int):
        self.corpus = frozenset(documents(Corpus(files=(str(corpus),))) if corpus else ())
        self.seed = seed
        self.ood = ood_prompts()
        self.texts: dict[str, list[str]] = {}
        self.unseen: dict[str, int] = {}
        self.next: Counter[str] = Counter()
        self.trained_on: Counter[str] = Counter()

    def add(self, kind: str, texts: labelled.Texts) -> None:
        """Documents of the corpus are prompts, cut at LONGEST."""
        seen = {text: prompt[:LONGEST] in self.corpus for text, prompt in texts if prompt not in self.ood}
        order = sorted(seen)
        random.Random(f"{self.seed} {kind}").shuffle(order)
        self.texts[kind] = sorted(order, key=lambda text: seen[text])
        self.unseen[kind] = len(seen) - sum(seen.values())

    def take(self, kind: str, needed: int, again: bool = False) -> list[str]:
        """The next texts. When they run out, an error; or, with `again`, the first ones again."""
        texts, unseen, begin = self.texts[kind], self.unseen[kind], self.next[kind]
        available = unseen if again and needed <= unseen else len(texts)
        total = needed if again else begin + needed
        if total > available:
            raise InputError(
                f"saebench: {kind}: sae-probes has {available:,} such texts, the stand-ins need {total:,}: lower "
                "the set sizes of saebench.sparse_probing and saebench.scr_and_tpp"
            )
        places = [place % available for place in range(begin, begin + needed)]
        self.next[kind] = begin + needed
        self.trained_on[kind] += sum(place >= unseen for place in places)
        return [texts[place] for place in places]

    def record(self, rows: dict[str, Any], made_of: dict[Any, str]) -> dict[str, Any]:
        """What the manifest says about a set."""
        kinds = dict.fromkeys(made_of.values())
        trained_on = {kind: self.trained_on[kind] for kind in kinds if self.trained_on[kind]}
        return {"rows": rows, "made_of": made_of, "rows_in_the_language_models_corpus": trained_on}


# Writes a set into a folder, and returns what the manifest says about it.
Maker = Callable[[Path, Supply, Needs], dict[str, Any]]


def write_data(manifest: str | Path, settings: Texts, corpus: str | None) -> None:
    sets = Folder(Path(manifest).parent)
    with Lease(sets.root) as lease:
        write_stand_ins(sets, Needs(settings), None if corpus is None else Path(corpus), settings.seed)
        lease.check()
        sets.write_manifest(manifest, settings)


def write_stand_ins(folder: Folder, needs: Needs, corpus: Path | None, seed: int) -> None:
    """Every set that SAEBench's settings ask for; `corpus` is what the run's language models trained on."""
    makers: dict[str, Maker] = {BIOS: people, AMAZON: reviews, NEWS: news, CODE: code, EUROPARL: languages}
    supply = Supply(corpus, seed)
    for name in needs.sets():
        maker = makers.get(name, plain_text)

        def write(aside: Path, make: Maker = maker) -> dict[str, Any]:
            return make(aside, supply, needs)

        folder.add(name, {"source": "stand-in"}, write, again=True)


Groups = dict[tuple[str, float], labelled.Texts]  # by kind and by the second label's number


def people(folder: Path, supply: Supply, needs: Needs) -> dict[str, Any]:
    """When a kind's texts run out, classes that SAEBench never compares with each other share some."""
    texts: Groups = {(occupation, GENDERS[sex]): texts for (occupation, sex), texts in labelled.people().items()}
    columns = ("hard_text", "profession", "gender")
    return two_labels(folder, supply, needs.per_class_and_group(BIOS), texts, PROFESSIONS, columns, again=True)


def reviews(folder: Path, supply: Supply, needs: Needs) -> dict[str, Any]:
    texts: Groups = {(kind, RATINGS[sign]): texts for (kind, sign), texts in labelled.reviews().items()}
    columns = ("text", "category", "rating")
    return two_labels(folder, supply, needs.per_class_and_group(AMAZON), texts, CATEGORIES, columns)


def two_labels(
    folder: Path,
    supply: Supply,
    needed: Mapping[tuple[int, float], Sizes],
    texts: Groups,
    classes: Mapping[str, tuple[int, ...]],
    names: tuple[str, str, str],
    again: bool = False,
) -> dict[str, Any]:
    for (kind, group), kind_texts in texts.items():
        supply.add(f"{kind}, {names[2]} {group}", kind_texts)
    stand_ins = {class_: kind for kind, kind_classes in classes.items() for class_ in kind_classes}
    columns: dict[str, dict[str, list[Any]]] = {split: {name: [] for name in names} for split in ("train", "test")}
    rows: dict[str, dict[str, int]] = {split: {} for split in columns}
    made_of: dict[str, str] = {}
    for (class_, group), sizes in sorted(needed.items()):
        if class_ not in stand_ins:
            raise InputError(
                f"saebench.scr_and_tpp.class_pairs: nothing stands in for {names[1]} {class_}: known are "
                f"{', '.join(map(str, sorted(stand_ins)))} (scripts/maskedsae/world/evaluations.py)"
            )
        kind = f"{stand_ins[class_]}, {names[2]} {group}"
        made_of[f"{class_}, {group}"] = kind
        for split, part in split_up(supply.take(kind, sum(sizes.values()), again), sizes).items():
            rows[split][f"{class_}, {group}"] = len(part)
            new_rows: tuple[list[Any], ...] = (part, [class_] * len(part), [group] * len(part))
            for name, values in zip(names, new_rows, strict=True):
                columns[split][name] += values
    write_splits(folder, columns)
    return supply.record(rows, made_of)


def split_up(texts: list[str], sizes: Sizes) -> dict[str, list[str]]:
    return {"train": texts[: sizes["train"]], "test": texts[sizes["train"] :]}


def news(folder: Path, supply: Supply, needs: Needs) -> dict[str, Any]:
    sizes = needs.per_class()
    columns: dict[str, dict[str, list[Any]]] = {split: {"text": [], "label": []} for split in sizes}
    for topic, texts in labelled.news().items():
        supply.add(topic, texts)
    for label, topic in TOPICS.items():
        for split, part in split_up(supply.take(topic, sum(sizes.values())), sizes).items():
            columns[split]["text"] += part
            columns[split]["label"] += [label] * len(part)
    write_splits(folder, columns)
    return supply.record({split: dict.fromkeys(map(str, TOPICS), size) for split, size in sizes.items()}, TOPICS)


def code(folder: Path, supply: Supply, needs: Needs) -> dict[str, Any]:
    needed = sum(needs.per_class().values()) + 1  # SAEBench reads until it has one too many of each
    rows = []
    for language, texts in labelled.code().items():
        supply.add(language, texts)
        rows += [(language, text) for text in supply.take(language, needed)]
    write_code(folder, rows)
    languages_ = dict(rows)
    return supply.record({"train": dict.fromkeys(languages_, needed)}, {language: language for language in languages_})


def languages(folder: Path, supply: Supply, needs: Needs) -> dict[str, Any]:
    needed = sum(needs.per_class().values()) + 1  # as for code
    for language, sentences in labelled.sentences().items():
        supply.add(language, sentences)
    texts = {short: supply.take(language, needed) for short, language in LANGUAGES.items()}
    write_europarl(folder, {short: [{short: text} for text in part] for short, part in texts.items()})
    return supply.record({"train": dict.fromkeys(LANGUAGE_PAIRS.values(), needed)}, LANGUAGES)


def plain_text(folder: Path, supply: Supply, needs: Needs) -> dict[str, Any]:
    supply.add("web article", labelled.articles())
    texts: list[str] = []
    while sum(map(len, texts)) < needs.core_characters():
        texts += supply.take("web article", 1)
    write_splits(folder, {"train": {"text": texts}})
    described = supply.record({"train": {"text": len(texts)}}, {"text": "web article"})
    return described | {"characters": sum(map(len, texts))}
