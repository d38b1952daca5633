"""The eight data sets, as sae-probes ships them: texts of two classes to train on, and shifted ones to test on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...jobs.errors import InputError
from ...text.sae_probes_data import data_folder

# For class 0 and class 1: its meaning, and its spelling in the training file and in the OOD file. Which class is 0
# follows the original's sort order, since training rows are drawn class by class; but a spelling that is not listed is
# an error. (In GLUE's QNLI 0 is entailment; sorting gets "1" right only because it precedes "not_entailment".)
MALE = (("female", "0", "0"), ("male", "1", "1"))
AMERICAN = (("not American", "0", "0"), ("American", "1", "1"))
POLITICIAN = (("not a politician", "0", "0"), ("politician", "1", "1"))
BIGRAM = (("ends in the bigram", "bigram", "bigram"), ("does not", "not_bigram", "not_bigram"))
ACCEPTABLE = (("unacceptable", "0", "0"), ("acceptable", "1", "1"))
ENTAILMENT = (("entailment", "0", "1"), ("not entailment", "1", "not_entailment"))

LABELS = {
    "5_hist_fig_ismale": MALE,
    "6_hist_fig_isamerican": AMERICAN,
    "7_hist_fig_ispolitician": POLITICIAN,
    "66_living-room": BIGRAM,
    "67_social-security": BIGRAM,
    "73_control-group": BIGRAM,
    "87_glue_cola": ACCEPTABLE,
    "90_glue_qnli": ENTAILMENT,
}


@dataclass(frozen=True)
class Texts:
    prompts: list[str]
    labels: NDArray[np.int64]  # 0 or 1


def load(name: str, rows: int, folder: Path | None = None) -> tuple[Texts, Texts]:
    """The first `rows` training texts of a data set, and all of its OOD texts."""
    folder = folder or data_folder()
    training = {spelling: label for label, (_, spelling, _) in enumerate(LABELS[name])}
    shifted = {spelling: label for label, (_, _, spelling) in enumerate(LABELS[name])}
    return (
        read(folder / "cleaned_data" / f"{name}.csv.zst", training, rows),
        read(folder / "OOD data" / f"{name}_OOD.csv.zst", shifted),
    )


def read(path: Path, spellings: dict[str, int], rows: int | None = None) -> Texts:
    """All columns as text: pandas would read 1 as a number in one file and as text in another, and "NA" as missing."""
    if not path.exists():
        raise InputError(f"{path} is missing: sae-probes ships it (see envs/)")
    table = pd.read_csv(path, dtype=str, keep_default_na=False, nrows=rows)
    if unknown := sorted(set(table["target"]) - set(spellings)):
        raise InputError(
            f"{path}: label {unknown[0]!r} is none of {', '.join(map(repr, spellings))}: add it to its class in "
            "LABELS of scripts/maskedsae/scores/ood/datasets.py"
        )
    if missing := sorted(set(spellings) - set(table["target"])):
        raise InputError(f"{path}: no row has label {missing[0]!r}, but a probe needs both: reinstall sae-probes")
    return Texts(table["prompt"].tolist(), table["target"].map(spellings).to_numpy(np.int64))


def number_texts(*prompts: list[str]) -> list[NDArray[np.int64]]:
    """For each list, one number per text, the same for equal texts: so repeats are known without the texts."""
    numbers: dict[str, int] = {}
    return [np.array([numbers.setdefault(text, len(numbers)) for text in part]) for part in prompts]
