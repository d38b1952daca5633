"""SAEBench's data sets from the hub: only the texts that it reads, so that scoring needs no network.

SAEBench's own readers decide which texts these are: they run here, with a `load_dataset` of ours. For a set that they
read whole, it gives them row numbers in place of texts; the numbers that they return are the texts to keep. The other
rows keep their place and labels but lose their text, since what is drawn depends on the number of rows. For a set that
they stream, the rows that they asked for are kept.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from datasets import disable_progress_bars, load_dataset
from sae_bench.evals.scr_and_tpp import dataset_creation
from sae_bench.sae_bench_utils import dataset_utils
from sae_bench.sae_bench_utils.dataset_info import chosen_classes_per_dataset

from ...jobs.errors import InputError
from ...jobs.files import require_space
from ...jobs.hub import Repository
from ...jobs.leases import Lease
from ...jobs.log import log
from ...jobs.progress import Progress
from ...jobs.typed import plain
from .datasets import Folder, write_code, write_europarl, write_splits
from .names import set_of
from .rows import AMAZON, BIOS, CODE, EUROPARL, GROUPS, LANGUAGE_PAIRS, NEWS, Needs, Sizes
from .settings import Revision, Texts

# For the sets that SAEBench reads whole: the column of the text, and those of the labels.
COLUMNS = {
    BIOS: ("hard_text", ["profession", "gender"]),
    AMAZON: ("text", ["category", "rating"]),
    NEWS: ("text", ["label"]),
}
SPACE = 2_000_000_000  # bytes per set: amazon_reviews is 0.3 GB on the hub, and an unpacked copy is needed for a while
SHUFFLE_SEED = 42  # of core's text, in SAEBench's evals/core/main.py; SAELens shuffles shards, not rows
LOWER = "lower the set sizes of saebench.sparse_probing and saebench.scr_and_tpp"


class Hub:
    """One data set of the hub, at one commit. If the working directory has a folder of its name, `load_dataset` reads
    that: a user's own copy, or a test's."""

    def __init__(self, name: str, revision: str | None):
        self.name, self.revision = name, revision
        self.repository = Repository("dataset", name, revision, "saebench.data", "saebench.data.revisions")

    @cached_property
    def commit(self) -> str | None:
        return None if self.repository.local else self.repository.commit()

    def load(self, **more: Any) -> Any:
        """The whole set."""
        return self.repository.fetch(lambda: self._load(**more))

    def stream(self, *subset: str, shuffle_seed: int | None = None, **more: Any) -> Iterator[dict[str, Any]]:
        """The rows of split train; with a seed, of its shards in another order."""

        def begin() -> Any:
            rows = self._load(*subset, streaming=True, split="train", **more)
            return rows if shuffle_seed is None else rows.shuffle(seed=shuffle_seed, buffer_size=1)

        return self.repository.read(begin)

    def _load(self, *subset: str, **more: Any) -> Any:
        log.info("%s: fetching %s", self.name, self.commit or f"from the folder {Path(self.name).absolute()}")
        return load_dataset(self.name, *subset, revision=self.commit, **more)

    def record(self, rows: dict[str, Any]) -> dict[str, Any]:
        source = {"commit": self.commit} if self.commit else {"folder": str(Path(self.name).absolute())}
        return {**source, "rows": rows}


# Fetches a set into a folder, and returns what the manifest says about it.
Fetcher = Callable[[Path, Hub, Needs], dict[str, Any]]
Classes = dict[str, list[Any]]  # {class: its texts, or the rows' numbers in their place}


def write_data(manifest: str | Path, settings: Texts, corpus: str | None = None) -> None:
    """From the hub. `corpus` matters for stand-ins only."""
    sets = Folder(Path(manifest).parent)
    with Lease(sets.root) as lease:
        fetch(sets, Needs(settings), settings.data.revisions)
        lease.check()
        sets.write_manifest(manifest, settings)


def fetch(folder: Folder, needs: Needs, revisions: Sequence[Revision]) -> None:
    """Every set that SAEBench's settings ask for; one that exists already is not fetched again."""
    disable_progress_bars()
    revision_of = {revision.dataset: revision.revision for revision in revisions}
    if unknown := sorted(set(revision_of) - set(needs.sets())):
        raise InputError(
            f"saebench.data.revisions: {unknown[0]} is not one of the data sets to fetch: {', '.join(needs.sets())}"
        )
    for name in needs.sets():
        sections, fetch_one = FETCHERS.get(name, (("core",), plain_text))
        hub = Hub(name, revision_of.get(name))
        settings = {key: plain(getattr(needs.settings, key)) for key in ("seed", "code", *sections)}
        identity = {"source": "hub", "revision": hub.revision, "settings": settings}

        def make(aside: Path, hub: Hub = hub, fetch_one: Fetcher = fetch_one) -> dict[str, Any]:
            require_space(aside, SPACE, f"fetching {hub.name}")
            return fetch_one(aside, hub, needs)

        folder.add(name, identity, make)


@contextmanager
def readers_use(load: Callable[..., Any]) -> Iterator[None]:
    """Make `load` the `load_dataset` of SAEBench's readers."""
    modules = (dataset_utils, dataset_creation)
    originals = [module.load_dataset for module in modules]
    try:
        for module in modules:
            module.load_dataset = load
        yield
    finally:
        for module, original in zip(modules, originals, strict=True):
            module.load_dataset = original


def draws(name: str, needs: Needs) -> Iterator[tuple[Classes, Classes]]:
    """What SAEBench's readers take from this set: ({class: train texts}, {class: test texts}) for each eval in turn."""
    seed, paired = needs.settings.seed, needs.paired_sizes(1)
    for long in needs.probing.dataset_names:
        if set_of(long) == name:
            yield chosen(
                long, dataset_utils.get_multi_label_train_test_data(long, *needs.probing_sizes(1).values(), seed)
            )
    for long in needs.paired.dataset_names:
        if set_of(long) == name:
            yield chosen(long, dataset_creation.get_train_test_data(long, False, *paired.values(), seed))
            for pair in needs.paired.class_pairs[long]:
                yield dataset_creation.get_train_test_data(
                    long, True, *paired.values(), seed, tuple(pair), GROUPS[name]
                )


def chosen(long: str, data: tuple[Classes, Classes]) -> tuple[Classes, Classes]:
    classes = chosen_classes_per_dataset[long]
    return dataset_utils.filter_dataset(data[0], classes), dataset_utils.filter_dataset(data[1], classes)


def whole(folder: Path, hub: Hub, needs: Needs) -> dict[str, Any]:
    text, labels = COLUMNS[hub.name]
    with TemporaryDirectory(dir=folder) as cache:
        full = hub.load(cache_dir=cache)
        frames = hub.repository.fetch(partial(frames_of, full, labels))
        require_rows(hub.name, frames, needs)
        kept, columns = numbers_drawn(hub.name, frames, needs), {}
        for split, frame in frames.items():
            texts = [""] * len(frame)
            for number, words in zip(kept[split], full[split].select(kept[split])[text], strict=True):
                texts[number] = words
            columns[split] = {text: texts} | {label: frame[label].to_numpy() for label in labels}
        del full
    write_splits(folder, columns)
    return hub.record({split: counts(frames[split].iloc[kept[split]]) for split in frames}) | {
        "rows_without_text": {split: len(frames[split]) - len(kept[split]) for split in frames}
    }


def frames_of(full: Any, labels: list[str]) -> dict[str, pd.DataFrame]:
    return {split: full[split].select_columns(labels).to_pandas() for split in ("train", "test")}


def numbers_drawn(name: str, frames: dict[str, pd.DataFrame], needs: Needs) -> dict[str, list[int]]:
    text, _ = COLUMNS[name]
    numbered = {split: frame.assign(**{text: np.arange(len(frame))}) for split, frame in frames.items()}
    drawn: dict[str, set[int]] = {split: set() for split in frames}
    with readers_use(lambda *_, **__: numbered):
        for train_and_test in draws(name, needs):
            for split, classes in zip(("train", "test"), train_and_test, strict=True):
                drawn[split].update(number for numbers in classes.values() for number in numbers)
    return {split: sorted(numbers) for split, numbers in drawn.items()}


def counts(frame: pd.DataFrame) -> dict[str, int]:
    found = frame.value_counts(sort=False).sort_index()
    return {", ".join(map(str, labels)): int(count) for labels, count in found.items()}


def require_rows(name: str, frames: dict[str, pd.DataFrame], needs: Needs) -> None:
    """Refuse too few rows; SAEBench would stop with a bare KeyError or AssertionError."""
    needed: Mapping[Any, Sizes]  # by the values of the labels' columns
    if name == NEWS:
        needed = {(int(label),): needs.per_class() for label in chosen_classes_per_dataset[NEWS]}
    else:
        needed = needs.per_class_and_group(name)
    _, labels = COLUMNS[name]
    for split, frame in frames.items():
        found = Counter(frame.itertuples(index=False, name=None))
        for values, sizes in needed.items():
            if found[values] < sizes[split]:
                which = ", ".join(f"{label} {value}" for label, value in zip(labels, values, strict=True))
                raise InputError(
                    f"saebench.data: {name}: {found[values]:,} rows of {which} in {split}, SAEBench needs "
                    f"{sizes[split]:,}: {LOWER}"
                )


def code(folder: Path, hub: Hub, needs: Needs) -> dict[str, Any]:
    rows: list[tuple[str, str]] = []
    found: Counter[str] = Counter()
    needed = sum(needs.per_class().values()) + 1
    with Progress(hub.name, needed * len(chosen_classes_per_dataset[CODE]), "rows") as progress:

        def recorded(_: str, streaming: bool, split: str, **more: Any) -> Iterator[dict[str, Any]]:
            for row in hub.stream(**more):
                rows.append((row["language"], row["code"]))
                found[row["language"]] += 1
                progress.advance(found[row["language"]] <= needed)
                yield row

        read_all(hub, recorded, needs, found)
    write_code(folder, rows)
    return hub.record({"train": dict(found)})


def europarl(folder: Path, hub: Hub, needs: Needs) -> dict[str, Any]:
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    found: Counter[str] = Counter()

    def recorded(_: str, pair: str, streaming: bool, split: str) -> Iterator[dict[str, Any]]:
        for row in hub.stream(pair):
            rows[pair].append(row["translation"])
            found[pair] += 1
            yield row

    read_all(hub, recorded, needs, found)
    write_europarl(folder, {language: rows[pair] for language, pair in LANGUAGE_PAIRS.items()})
    return hub.record({"train": dict(found)})


def read_all(hub: Hub, load: Callable[..., Any], needs: Needs, found: Counter[str]) -> None:
    """Let SAEBench's reader take what it needs from a stream; it asserts that there was enough."""
    try:
        with readers_use(load):
            for _ in draws(hub.name, needs):
                pass
    except AssertionError as error:
        numbers = ", ".join(f"{count:,} of {class_}" for class_, count in sorted(found.items()))
        which = "each, over 534 characters long" if hub.name == CODE else "each"
        raise InputError(
            f"saebench.data: {hub.name}: rows are {numbers or 'none'}, SAEBench needs "
            f"{sum(needs.per_class().values()):,} of {which}: {LOWER}"
        ) from error


def plain_text(folder: Path, hub: Hub, needs: Needs) -> dict[str, Any]:
    """The first rows of the shuffled stream. They are written as one shard, which core's shuffle leaves in order."""
    needed, texts, characters = needs.core_characters(), [], 0
    rows = hub.stream(shuffle_seed=SHUFFLE_SEED, trust_remote_code=True)
    with Progress(hub.name, needed, "characters") as progress:
        for row in rows:
            texts.append(row["text"])
            characters += len(row["text"])
            progress.advance(len(row["text"]))
            if characters >= needed:
                break
    if characters < needed:
        raise InputError(
            f"saebench.core.dataset: {hub.name} has {characters:,} characters; for {needs.core_tokens():,} tokens core "
            f"should have {needed:,}: lower n_eval_reconstruction_batches and n_eval_sparsity_variance_batches"
        )
    write_splits(folder, {"train": {"text": texts}})
    return hub.record({"train": {"text": len(texts)}}) | {"characters": characters}


# Which settings decide a set's rows, and how it is fetched; any other set is core's.
FETCHERS: dict[str, tuple[tuple[str, ...], Fetcher]] = {
    BIOS: (("sparse_probing", "scr_and_tpp"), whole),
    AMAZON: (("sparse_probing", "scr_and_tpp"), whole),
    NEWS: (("sparse_probing",), whole),
    CODE: (("sparse_probing",), code),
    EUROPARL: (("sparse_probing",), europarl),
}
