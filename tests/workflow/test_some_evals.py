"""Some of SAEBench's evals, by the real SAEBench: without absorption a language model that cannot spell has scores."""

from copy import deepcopy
from pathlib import Path

import pytest

from checkout import TINY, Checkout, copy_data, copy_workflow
from conftest import MATRYOSHKA
from maskedsae.jobs.files import read_json

MODEL = Path("results/tiny/neox")
CELL = MODEL / "clean" / MATRYOSHKA / "l0_4/seed_0"
PROBED = "fancyzhx/ag_news"
# Of what is judged, scores of the evals that do not run.
NOT_JUDGED = dict.fromkeys(("absorption", "absorption_fraction", "sparse_probing"))


@pytest.fixture
def checkout(tmp_path, model_folders) -> Checkout:
    copy_workflow(tmp_path)
    copy_data(tmp_path, model_folders)
    config = deepcopy(TINY) | {"trainers": [MATRYOSHKA], "l0": [4], "l0_sets": []}
    config["analysis"] = {"endpoints": NOT_JUDGED}
    config["saebench"] |= {
        "evals": ["core"],
        "core": {
            "context_size": 32,
            "eval_batch_size_prompts": 4,
            "n_eval_reconstruction_batches": 2,
            "n_eval_sparsity_variance_batches": 4,
        },
        "sparse_probing": {
            "dataset_names": [PROBED],
            "probe_train_set_size": 40,
            "probe_test_set_size": 20,
            "context_length": 32,
        },
        "scr_and_tpp": config["saebench"]["scr_and_tpp"] | {"train_set_size": 40, "test_set_size": 20},  # texts only
    }
    return Checkout(tmp_path, config)


def test_only_what_is_asked_for_runs_and_what_is_added_later_runs_alone(checkout):
    def run() -> dict[str, int]:
        """When each part of what SAEs share, and each eval of the SAE, was made."""
        output = checkout.snakemake(str(CELL / "scores/l0.json"))
        assert checkout.status == 0, output
        made = [
            *(folder / MODEL / "saebench/parts").glob("*.json"),
            *(folder / CELL / "saebench").glob("*/record.json"),
        ]
        return {str(path.relative_to(folder / MODEL)): path.stat().st_mtime_ns for path in made}

    def scores() -> set[str]:
        return {path.stem for path in (folder / CELL / "scores").glob("*.json")}

    folder = checkout.folder
    first = run()
    assert len(first) == 2
    assert scores() == {"core", "variance", "l0", "provenance"}
    assert read_json(folder / CELL / "scores/l0.json").keys() == {"core", "core_tokens"}

    checkout.config["saebench"]["evals"] = ["sparse_probing", "core"]
    second = run()
    assert len(second) == 4
    assert second | first == second
    assert scores() == {"core", "variance", "sparse_probing", "l0", "provenance"}

    checkout.config["saebench"]["evals"] = ["core"]
    assert run() == second
    assert scores() == {"core", "variance", "l0", "provenance"}
