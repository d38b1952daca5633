"""In a process of its own, with Hugging Face's folders elsewhere: fetching SAEBench's data sets from the current folder
(`fetch SETTINGS TARGET`, for each of several settings), and what SAEBench's own readers give in folders
(`read SETTINGS TARGET FOLDER …`)."""

import json
import logging
import os
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

from datasets import config, load_dataset
from sae_bench.evals.scr_and_tpp.dataset_creation import get_train_test_data
from sae_bench.sae_bench_utils.dataset_info import chosen_classes_per_dataset
from sae_bench.sae_bench_utils.dataset_utils import filter_dataset, get_multi_label_train_test_data

COLUMN2 = {"LabHC/bias_in_bios_class_set1": ("male", "female"), "canrager/amazon_reviews_mcauley_1and5": (1.0, 5.0)}
CORE_ROWS = 40


def read(settings: dict) -> dict:
    """Each eval's texts by class, as the eval gets them."""
    probing, paired = settings["sparse_probing"], settings["scr_and_tpp"]
    sizes = probing["probe_train_set_size"], probing["probe_test_set_size"]
    paired_sizes = paired["train_set_size"], paired["test_set_size"]
    found = {}

    def keep(name: str, both: tuple[dict, dict], classes: list | None = None) -> None:
        for split, data in zip(("train", "test"), both, strict=True):
            found[f"{name} {split}"] = filter_dataset(data, classes) if classes else data

    for name in probing["dataset_names"]:
        both = get_multi_label_train_test_data(name, *sizes, settings["seed"])
        keep(f"probing {name}", both, chosen_classes_per_dataset[name])
    for name in paired["dataset_names"]:
        both = get_train_test_data(name, False, *paired_sizes, settings["seed"])
        keep(f"tpp {name}", both, chosen_classes_per_dataset[name])
        for pair in paired["class_pairs"][name]:
            both = get_train_test_data(name, True, *paired_sizes, settings["seed"], tuple(pair), COLUMN2[name])
            keep(f"scr {name} {pair}", both)
    found["core"] = {"text": core_texts(settings["core"]["dataset"])}
    return found


def core_texts(name: str) -> list[str]:
    """As SAEBench's core has them: SAELens loads and shuffles."""
    from sae_lens.training.activations_store import ActivationsStore

    store = SimpleNamespace(dataset=load_dataset(name, split="train", streaming=True, trust_remote_code=True))
    ActivationsStore.shuffle_input_dataset(store, seed=42)
    return [row["text"] for row in islice(store.iterable_dataset, CORE_ROWS)]


def fetch_all(every: list[dict], target: Path) -> None:
    from maskedsae.jobs.errors import InputError
    from maskedsae.jobs.typed import read as typed_read
    from maskedsae.scores.saebench.datasets import Folder
    from maskedsae.scores.saebench.fetching import fetch
    from maskedsae.scores.saebench.rows import Needs
    from maskedsae.scores.saebench.settings import Texts

    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
    for settings in every:
        sets, texts = Folder(target), typed_read(Texts, settings)
        try:
            fetch(sets, Needs(texts), texts.data.revisions)
            sets.write_manifest(target / "manifest.json", texts)
        except InputError as error:
            print("error:", error)


def read_all(settings: dict, folders: list[str]) -> list[dict]:
    found = []
    for folder in folders:
        os.chdir(folder)
        config.HF_DATASETS_CACHE = Path(os.environ["HF_HOME"], f"of_{len(found)}")  # none is taken for another
        found.append(read(settings))
    return found


if __name__ == "__main__":
    job, settings, target = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    if job == "read":
        target.write_text(json.dumps(read_all(settings, sys.argv[4:])))
    else:
        fetch_all(settings, target)  # a list
