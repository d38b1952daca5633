"""Which sets SAEBench's settings ask for, and how many rows of each class. SAEBench itself notices too few late, with a
bare KeyError or AssertionError."""

from dataclasses import dataclass

from sae_bench.sae_bench_utils.dataset_info import chosen_classes_per_dataset, dataset_metadata

from .names import set_of
from .settings import CoreTexts, PairedTexts, ProbingTexts, Texts

BIOS = "LabHC/bias_in_bios"
AMAZON = "canrager/amazon_reviews_mcauley_1and5"
NEWS = "fancyzhx/ag_news"
CODE = "codeparrot/github-code"
EUROPARL = "Helsinki-NLP/europarl"

# SCR's positive and negative group, as in SAEBench's evals/scr_and_tpp/main.py, whose import takes 15 seconds.
GROUPS = {BIOS: ("male", "female"), AMAZON: (1.0, 5.0)}
# The language that SAEBench reads out of each pair, as in its get_europarl_dataset.
LANGUAGE_PAIRS = {"en": "en-fr", "fr": "fr-it", "de": "de-en", "es": "es-fr", "nl": "nl-pt"}

CHARACTERS_PER_TOKEN = 6  # more than any tokenizer has in English (about 4.5), so that core never reads the text twice

Sizes = dict[str, int]  # rows of the train and of the test split


@dataclass(frozen=True)
class Needs:
    settings: Texts

    @property
    def probing(self) -> ProbingTexts:
        return self.settings.sparse_probing

    @property
    def paired(self) -> PairedTexts:
        return self.settings.scr_and_tpp

    @property
    def core(self) -> CoreTexts:
        return self.settings.core

    def sets(self) -> list[str]:
        """Names on the hub."""
        names = [set_of(name) for name in (*self.probing.dataset_names, *self.paired.dataset_names)]
        return [*dict.fromkeys(names), self.core.dataset]

    def probing_sizes(self, share: int) -> Sizes:
        sizes = {"train": self.probing.probe_train_set_size, "test": self.probing.probe_test_set_size}
        return {split: size // share for split, size in sizes.items()}

    def paired_sizes(self, share: int) -> Sizes:
        sizes = {"train": self.paired.train_set_size, "test": self.paired.test_set_size}
        return {split: size // share for split, size in sizes.items()}

    def per_class_and_group(self, name: str) -> dict[tuple[int, float], Sizes]:
        """{(class, group): rows} of a set with both labels: a quarter of the set size, and more than twice that for the
        group that a class has in a biased pair of SCR."""
        needed: dict[tuple[int, float], Sizes] = {}
        groups = dataset_metadata[name]["column2_mapping"]

        def need(class_: int, group: float, sizes: Sizes) -> None:
            before = needed.get((class_, group), {"train": 0, "test": 0})
            needed[class_, group] = {split: max(before[split], sizes[split]) for split in before}

        quarters = [
            (self.probing.dataset_names, self.probing_sizes(4)),
            (self.paired.dataset_names, self.paired_sizes(4)),
        ]
        for names, sizes in quarters:
            for class_ in [class_ for long in names if classes_are_column1(long, name) for class_ in chosen(long)]:
                for group in groups.values():
                    need(class_, group, sizes)
        for long in self.paired.dataset_names:
            for pair in self.paired.class_pairs[long] if set_of(long) == name else ():
                for class_name, own_group in zip(pair, GROUPS[name], strict=True):
                    for group in GROUPS[name]:
                        quarter = self.paired_sizes(4)
                        biased = {split: 2 * size + 1 for split, size in quarter.items()}
                        number = dataset_metadata[name]["column1_mapping"][class_name]
                        need(number, groups[group], biased if group == own_group else quarter)
        return needed

    def per_class(self) -> Sizes:
        """Rows of each class of a set with one label: half the set size, since each class is compared with others."""
        return self.probing_sizes(2)

    def core_tokens(self) -> int:
        batches = self.core.n_eval_reconstruction_batches + self.core.n_eval_sparsity_variance_batches
        return batches * self.core.eval_batch_size_prompts * self.core.context_size

    def core_characters(self) -> int:
        return self.core_tokens() * CHARACTERS_PER_TOKEN


def classes_are_column1(long: str, name: str) -> bool:
    return set_of(long) == name and not long.endswith("_sentiment")


def chosen(long: str) -> list[int]:
    return [int(class_) for class_ in chosen_classes_per_dataset[long]]
