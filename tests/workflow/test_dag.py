"""What Snakemake would do, asked of Snakemake itself: in a copy of the workflow, after a real run of a tiny grid.

Growing the grid adds only its own jobs; what cannot change a number redoes nothing; what can, redoes just that.
"""

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from checkout import (
    TINY,
    TO_PROBES,
    TO_ROBUSTNESS,
    TO_SAES,
    TO_SCORES,
    TOPK,
    WITHOUT_SAEBENCH,
    Checkout,
    copy_data,
    copy_workflow,
    model_entry,
)
from conftest import MATRYOSHKA
from imported_saes import write_dictionary_learning
from maskedsae.jobs.files import read_json, write_json
from maskedsae.saes.cells import Cell, Imported


def train(model: str, stream: str, trainer: str, l0: str, seed: int = 0) -> str:
    return f"train/{model}_{stream}_{trainer}_l0_{l0}_seed_{seed}"


TOKENS, MODEL = "tokens/neox", "model/neox"
TRAIN_MATRYOSHKA, TRAIN_TOPK = (train("neox", "clean", trainer, "4-8") for trainer in (MATRYOSHKA, TOPK))
TRAIN = {TRAIN_MATRYOSHKA, TRAIN_TOPK}


# The paper's configuration, nothing done yet.


@pytest.mark.parametrize(
    ("target", "train_jobs", "saes"), [("saes", 6, 18), ("scores", 6, 18), ("all", 6, 18), ("grid", 10, 32)]
)
def test_the_papers_targets_have_the_jobs_that_the_readme_promises(tmp_path, target, train_jobs, saes):
    copy_workflow(tmp_path)
    jobs = Checkout(tmp_path, None).planned(target, TO_SCORES)
    made = {"model": 2, "tokens": 2, "train": train_jobs}
    if target != "saes":
        made |= {"ood_activations": 2, "oracle": 2, "ood": saes}
        made |= {"saebench_data": 1, "saebench_model": 2, "saebench": saes}
        made |= {"robustness_activations": 2, "robustness": saes}
    if target == "all":
        made["mechanism"] = 2
    assert Counter(job.split("/")[0] for job in jobs) == made
    assert sum(len(re.search(r"_l0_([\d-]+)_", job)[1].split("-")) for job in jobs if "train" in job) == saes


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"trainning": {}}, "configuration: trainning: unknown key: did you mean training?"),
        (
            {"streams": [{"name": "clean", "p": 2}]},
            "configuration: streams[0].p: 2 is out of range: it must be less than 1",
        ),
    ],
)
def test_a_wrong_configuration_ends_in_one_line_before_any_job(tmp_path, wrong, line):
    copy_workflow(tmp_path)
    checkout = Checkout(tmp_path, wrong)
    output = checkout.snakemake("saes")
    assert checkout.status != 0
    assert any(said.startswith(line) for said in output.splitlines())
    assert "Traceback" not in output
    assert not (tmp_path / "results").exists()


# After a real run of the tiny grid.


@pytest.fixture(scope="module")
def finished(tmp_path_factory, model_folders) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    copy_workflow(folder)
    copy_data(folder, model_folders)
    checkout = Checkout(folder, TINY)
    output = checkout.snakemake("grid", *WITHOUT_SAEBENCH)
    assert checkout.status == 0, output
    return folder


@pytest.fixture
def checkout(finished, tmp_path) -> Checkout:
    """A copy of the finished run."""
    return Checkout(finished, TINY).copy_to(tmp_path)


def test_what_is_done_is_done(checkout):
    assert checkout.planned("grid", TO_PROBES) == {}


def test_a_fresh_checkout_redoes_nothing(checkout):
    """Every file of it is younger than the results, and so are the corpus and the language model."""
    for path in [*checkout.sources(), *(checkout.folder / "models").rglob("*"), *checkout.folder.glob("corpus/*")]:
        os.utime(path)
    assert checkout.planned("grid", TO_PROBES) == {}


def test_a_pulled_change_that_cannot_change_a_number_redoes_nothing(checkout):
    """Comments, docstrings and layout anywhere, and code that only says how far a job is."""
    for path in (checkout.folder / "scripts").rglob("*.py"):
        path.write_text("# A comment.\n\n\n" + path.read_text())
    checkout.edit("scripts/maskedsae/saes/training.py", '"""', '"""Better said. ')
    shuffle = "            rows = self._shuffle(block, carry)\n"
    checkout.edit("scripts/maskedsae/activations/streams.py", shuffle, f'            """Said."""\n\n{shuffle}')
    for name in ("train", "data", "ood"):
        checkout.edit(f"rules/{name}.smk", "\n", "\n# A comment.\n")
    checkout.append("scripts/maskedsae/jobs/progress.py", "\n\nCHANGED = 1\n")
    assert checkout.planned("grid", TO_PROBES) == {}


def test_how_it_is_computed_redoes_nothing(checkout):
    checkout.config["compute"] |= {
        "device": "cuda",
        "threads": 2,
        "token_threads": 2,
        "probe_threads": 2,
        "checkpoint_minutes": 1,
        "log_every": 7,
    }
    checkout.config["trainer_settings"]["jumprelu"] = {"bandwidth": 0.01}  # of a trainer that is not used
    assert checkout.planned("grid", TO_PROBES) == {}


def test_another_grouping_into_jobs_redoes_nothing(checkout):
    """A new table makes jobs of the SAEs that it needs; they are there."""
    checkout.config["tables"] = [{"name": "table1", "model": "neox", "streams": ["clean"], "l0": [4]}]
    assert checkout.planned() == {}


def both(stream: str = "clean", l0: str = "4-8", seed: int = 0, model: str = "neox") -> set[str]:
    return {train(model, stream, trainer, l0, seed) for trainer in (MATRYOSHKA, TOPK)}


@pytest.mark.parametrize(
    ("key", "added", "jobs"),
    [
        ("l0", 6, both(l0="6")),
        ("seeds", 1, both(seed=1)),
        ("streams", {"name": "mask30", "p": 0.3}, both(stream="mask30")),
        (
            "streams",
            {"name": "dots30", "corruption": {"kind": "mask", "p": 0.3, "string": ".."}},
            both(stream="dots30"),
        ),
        ("models", model_entry("gemma", "gemma2"), both(model="gemma") | {"model/gemma", "tokens/gemma"}),
        ("trainers", "batch_topk", {train("neox", "clean", "batch_topk", "4-8")}),
        ("trainers", "topk-small", {train("neox", "clean", "topk-small", "4-8")}),
    ],
)
def test_growing_the_grid_adds_only_its_own_jobs(checkout, key, added, jobs):
    checkout.config["trainer_settings"]["batch_topk"] = checkout.config["trainer_settings"][TOPK]
    checkout.config["trainer_settings"]["topk-small"] = {"kind": TOPK, "dict_size": 32}
    checkout.config[key] = [added, *checkout.config[key]]  # first, since order should not matter
    planned = checkout.planned("grid", TO_PROBES)
    assert {job for job in planned if job.split("/")[0] in TO_SAES} == jobs
    assert not {ACTIVATIONS, ORACLE, *PROBES} & set(planned)
    assert all(reason.startswith("Missing output files") for reason in planned.values())


def test_growing_the_grid_leaves_the_finished_saes_alone(checkout):
    """Run and not only planned: Snakemake deletes what it makes again."""
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in checkout.folder.glob("results/**/sae/*")}
    checkout.config["l0"] = [6, 4, 8]
    checkout.config["trainers"] = [TOPK]
    output = checkout.snakemake("grid", *WITHOUT_SAEBENCH)
    assert checkout.status == 0, output
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in checkout.folder.glob("results/**/sae/*")}
    assert len(before) == 4 * 7
    assert {path.parents[2].name for path in after.keys() - before.keys()} == {"l0_6"}
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize(
    ("module", "redone"),
    [
        ("activations/streams", TRAIN),
        ("saes/trainers/topk", {TRAIN_TOPK}),
        ("activations/corruptions/mask", set()),  # no stream of this run has one
        ("text/packing", {TOKENS} | TRAIN),
        ("activations/language_models", {MODEL, TOKENS} | TRAIN),
    ],
)
def test_changed_code_redoes_what_it_computes_and_the_dry_run_says_why(checkout, module, redone):
    checkout.append(f"scripts/maskedsae/{module}.py", "\n\nCHANGED = 1\n")
    planned = checkout.planned()
    assert set(planned) == redone
    for reason in planned.values():
        assert "Params have changed" in reason or "Input files updated by another job" in reason
    reasons = "\n".join(planned.values())
    name = module.replace("/", r"\.")
    hashes = set(re.findall(rf"{name}\W+([0-9a-f]{{12}})", reasons))
    assert len(hashes) == (2 if redone else 0)  # before and now


@pytest.mark.parametrize(
    ("keys", "value", "redone"),
    [
        (("trainer_settings", TOPK, "lr"), 1e-3, {TRAIN_TOPK}),
        (("training", "batch"), 128, TRAIN),
        (("training", "tokens"), 6400 + 64, {TOKENS} | TRAIN),
        (("mask",), " ", {MODEL, TOKENS} | TRAIN),
        (("streams", 0, "corruption"), {"kind": "mask", "p": 0.3}, TRAIN),
        (("seeds_per_stream",), 2, set()),  # of seed 0 it is the same stream
    ],
)
def test_a_changed_parameter_redoes_what_depends_on_it(checkout, keys, value, redone):
    *path, last = keys
    place = checkout.config
    for key in path:
        place = place[key]
    place[last] = value
    planned = checkout.planned()
    assert set(planned) == redone
    assert not redone or any("Params have changed" in reason for reason in planned.values())


@pytest.mark.parametrize(
    ("file", "redone"),
    [
        ("corpus/long.txt", {TOKENS} | TRAIN),
        ("models/gpt_neox/model.safetensors", {MODEL, TOKENS} | TRAIN),
        ("models/gpt_neox/tokenizer_config.json", {MODEL, TOKENS} | TRAIN),
    ],
)
def test_changed_text_or_weights_redo_what_was_made_of_them(checkout, file, redone):
    checkout.append(file, "And more.")
    planned = checkout.planned()
    assert set(planned) == redone
    assert f"Updated input files: {file}" in planned.values()


def test_another_language_model_of_the_same_sizes_gives_other_saes(checkout):
    """Run and not only planned: what the checkpoints hold was learned from the old one."""
    weights = checkout.folder / "models/gpt_neox/model.safetensors"
    tensors = {name: 1.1 * value for name, value in load_file(weights).items()}
    save_file(tensors, weights, {"format": "pt"})
    before = {path: path.read_bytes() for path in checkout.folder.glob("results/**/ae.pt")}
    output = checkout.snakemake("grid", *WITHOUT_SAEBENCH)
    assert checkout.status == 0, output
    assert len(before) == 4
    assert all(path.read_bytes() != content for path, content in before.items())


def test_without_a_profile_finished_saes_are_not_trained_again(checkout):
    """Snakemake's own triggers would, for a script that is younger than they are."""
    os.utime(checkout.folder / "scripts/train.py")
    checkout.profile = []
    output = checkout.snakemake("grid")
    assert checkout.status != 0
    assert "add --profile profiles/local" in output
    assert len(list(checkout.folder.glob("results/**/ae.pt"))) == 4


def test_a_gpu_that_is_not_there_is_said_before_the_first_job_of_a_training_run(tmp_path, model_folders):
    copy_workflow(tmp_path)
    copy_data(tmp_path, model_folders)
    checkout = Checkout(tmp_path, TINY)
    checkout.config["compute"]["device"] = "cuda"
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    output = checkout.snakemake("grid")
    assert checkout.status != 0
    assert "compute.device: cuda asks for a GPU" in output
    assert not (tmp_path / "results/tiny/neox/model.json").exists()
    # What needs no GPU can be made here all the same, as on a login node.
    output = checkout.snakemake("results/tiny/neox/model.json")
    assert checkout.status == 0, output


# Probes of the finished SAEs.

ACTIVATIONS, ORACLE = "ood_activations/neox", "oracle/neox"
PROBES = {f"ood/neox_clean_{trainer}_l0_{l0}_seed_0" for trainer in (MATRYOSHKA, TOPK) for l0 in (4, 8)}


@pytest.mark.parametrize(
    ("module", "redone"),
    [
        ("probes", {ORACLE} | PROBES),
        ("rows", {ORACLE} | PROBES),
        ("datasets", {ACTIVATIONS, ORACLE} | PROBES),
    ],
)
def test_changed_probing_trains_nothing_again(checkout, module, redone):
    checkout.append(f"scripts/maskedsae/scores/ood/{module}.py", "\n\nCHANGED = 1\n")
    assert set(checkout.planned("grid", TO_PROBES)) == redone


@pytest.mark.parametrize(
    ("key", "value", "redone"),
    [
        ("max_iter", 60, {ORACLE} | PROBES),
        ("same_rows", False, PROBES),
        ("max_tokens", 32, {ACTIVATIONS, ORACLE} | PROBES),
    ],
)
def test_a_changed_setting_of_the_probes_redoes_what_it_bears_on(checkout, key, value, redone):
    checkout.config["ood"][key] = value
    assert set(checkout.planned("grid", TO_PROBES)) == redone


def test_a_score_that_was_deleted_is_made_again_alone_and_as_it_was(checkout):
    (score,) = checkout.folder.glob(f"results/tiny/neox/clean/{TOPK}/l0_8/seed_0/scores/ood.json")
    before = score.read_bytes()
    score.unlink()
    assert set(checkout.planned("grid", TO_PROBES)) == {f"ood/neox_clean_{TOPK}_l0_8_seed_0"}
    output = checkout.snakemake("grid", *WITHOUT_SAEBENCH)
    assert checkout.status == 0, output
    assert score.read_bytes() == before


AUDITS = {f"audit/neox_clean_{trainer}_l0_{l0}_seed_0" for trainer in (MATRYOSHKA, TOPK) for l0 in (4, 8)}


def test_a_changed_threshold_audits_again_and_does_nothing_else(checkout):
    made = (*TO_PROBES, "audit")
    assert checkout.planned("grid", made) == {}
    checkout.config["audit"] = {"dead": 0.2, "every": 20}
    assert set(checkout.planned("grid", made)) == AUDITS


def test_a_damaged_sae_is_audited_again_and_found_out(checkout):
    """Run and not only planned. Snakemake sees that the file is younger."""
    folder = checkout.folder / f"results/tiny/neox/clean/{TOPK}/l0_8/seed_0"
    assert json.loads((folder / "audit.json").read_text())["audits"][-1]["points"]["checksums"]["fires"] is False
    checkout.append(str((folder / "sae" / "ae.pt").relative_to(checkout.folder)), "And more.")
    target = str((folder / "audit.json").relative_to(checkout.folder))
    output = checkout.snakemake(target)
    assert checkout.status == 0, output
    points = json.loads((folder / "audit.json").read_text())["audits"][-1]["points"]
    assert points["checksums"]["why"] == "ae.pt is not the file that was written"
    assert points["false_positives"]["applies"]


TEXTS = "robustness_activations/neox"
ROBUSTNESS = {f"robustness/neox_clean_{trainer}_l0_{l0}_seed_0" for trainer in (MATRYOSHKA, TOPK) for l0 in (4, 8)}


@pytest.mark.parametrize(
    ("module", "redone"),
    [("changes", ROBUSTNESS), ("parents", ROBUSTNESS), ("corruptions", {TEXTS} | ROBUSTNESS)],
)
def test_changed_robustness_trains_nothing_again(checkout, module, redone):
    checkout.append(f"scripts/maskedsae/scores/robustness/{module}.py", "\n\nCHANGED = 1\n")
    assert set(checkout.planned("grid", TO_ROBUSTNESS)) == redone


def test_a_new_corruption_of_a_stream_is_read_with_the_others_and_all_saes_are_measured_again(checkout):
    """One file has the text of all streams: an SAE's seconds are not worth a language model's start a stream."""
    checkout.config["streams"].append({"name": "mask30", "p": 0.3})
    planned = set(checkout.planned("grid", TO_ROBUSTNESS))
    new = {f"robustness/neox_mask30_{trainer}_l0_{l0}_seed_0" for trainer in (MATRYOSHKA, TOPK) for l0 in (4, 8)}
    assert planned == {TEXTS} | ROBUSTNESS | new | both(stream="mask30")


def test_an_sae_that_was_trained_again_is_probed_again(checkout):
    checkout.config["trainer_settings"][TOPK]["lr"] = 1e-3
    assert set(checkout.planned("grid", TO_PROBES)) == {TRAIN_TOPK} | {
        job for job in PROBES if f"_clean_{TOPK}_" in job
    }


# Scores of the finished SAEs: planned here, made in the demo.

SCORES = {f"saebench/neox_clean_{trainer}_l0_{l0}_seed_0" for trainer in (MATRYOSHKA, TOPK) for l0 in (4, 8)}


def test_each_sae_is_scored_by_one_job_and_what_they_share_is_made_once(checkout):
    assert set(checkout.planned("grid", TO_SCORES)) == {"saebench_data", "saebench_model/neox"} | SCORES


def test_growing_the_grid_scores_the_new_cells_only(checkout):
    checkout.config["l0"] = [4, 6, 8]
    planned = set(checkout.planned("grid", TO_SCORES))
    assert {job for job in planned if "_l0_6_" in job and job.startswith("saebench/")} == {
        f"saebench/neox_clean_{trainer}_l0_6_seed_0" for trainer in (MATRYOSHKA, TOPK)
    }
    assert {job for job in planned if job.startswith("train/")} == {
        train("neox", "clean", trainer, "6") for trainer in (MATRYOSHKA, TOPK)
    }


# Training together, and one that diverges.


def test_trainers_share_a_job_where_asked_for_and_are_what_they_are_alone(checkout):
    """What was trained apart is written again with what it now shares a job with, and not trained."""
    checkout.config |= {"trainer_sets": [[MATRYOSHKA, TOPK]], "seeds": [0, 1], "seeds_per_stream": 2}
    both_seeds = f"train/neox_clean_{MATRYOSHKA}-and-{TOPK}_l0_4-8_seed_0-1"
    assert set(checkout.planned()) == {both_seeds}
    before = {path: path.read_bytes() for path in checkout.folder.glob("results/**/seed_0/sae/ae.pt")}
    curves = {path: path.read_bytes() for path in checkout.folder.glob("results/**/seed_0/training.csv")}
    output = checkout.snakemake("grid", *WITHOUT_SAEBENCH)
    assert checkout.status == 0, output
    assert len(before) == 4 and all(path.read_bytes() == content for path, content in before.items())
    assert all(path.read_bytes() == content for path, content in curves.items())
    assert len(list(checkout.folder.glob("results/**/seed_1/sae/ae.pt"))) == 4


def test_of_a_job_in_which_one_diverges_the_healthy_saes_are_there_and_stay(checkout):
    config = checkout.config
    config["trainer_settings"]["wild"] = {"kind": TOPK, "lr": 1e30}
    config |= {"trainers": ["wild", TOPK], "trainer_sets": [["wild", TOPK]], "l0": [6], "seeds": [1]}
    config["tables"] = [{"name": "table1", "model": "neox", "streams": ["clean"], "l0": None}]
    output = checkout.snakemake("saes", "--retries", "1")
    assert checkout.status != 0
    healthy = checkout.folder / f"results/tiny/neox/clean/{TOPK}/l0_6/seed_1"
    wild = checkout.folder / "results/tiny/neox/clean/wild/l0_6/seed_1"
    assert "training diverged; the job's other SAEs (1) are written" in output
    assert "is trained already; its files are written again" in output  # by the second attempt
    assert (healthy / "sae/quality.json").exists() and not (wild / "sae").exists()
    sae, curve = ((healthy / name).read_bytes() for name in ("sae/ae.pt", "training.csv"))
    # As the message says: out of the grid with it.
    config |= {"trainers": [TOPK], "trainer_sets": []}
    output = checkout.snakemake("saes")
    assert checkout.status == 0, output
    assert ((healthy / "sae/ae.pt").read_bytes(), (healthy / "training.csv").read_bytes()) == (sae, curve)


def test_a_new_kind_of_corruption_is_a_file_and_touches_nothing_that_is_there(checkout):
    """As CONTRIBUTING.md says, from outside: a file and a stream of it; only that stream's jobs are planned and run."""
    kind = checkout.folder / "scripts/maskedsae/activations/corruptions/copy.py"
    kind.write_text(NEW_KIND)
    checkout.config["streams"] = [{"name": "clean"}, {"name": "copy30", "corruption": {"kind": "copy", "p": 0.3}}]
    planned = checkout.planned("grid", TO_PROBES)
    assert {job for job in planned if job.split("/")[0] in TO_SAES} == both(stream="copy30")
    output = checkout.snakemake("grid", *WITHOUT_SAEBENCH)
    assert checkout.status == 0, output
    (sae, *_) = checkout.folder.glob("results/tiny/neox/copy30/*/l0_8/seed_0/sae")
    stream = {"name": "copy30", "corruption": {"kind": "copy", "p": 0.3}, "context": "corrupted", "rows": "all"}
    assert json.loads((sae / "config.json").read_text())["buffer"]["stream"] == stream
    # It is part of what its own SAEs depend on, and of no other's.
    kind.write_text(NEW_KIND.replace("np.roll(contexts, 1", "np.roll(contexts, 2"))
    assert set(checkout.planned()) == both(stream="copy30")


NEW_KIND = """
from dataclasses import dataclass

import numpy as np

from .base import REPLACED, Corrupted, Corruption, touched


@dataclass(frozen=True)
class Copy(Corruption, kind="copy", done="copied"):
    def corrupt(self, contexts, numbers, seed, vocabulary):
        hit = touched(self.p, contexts, numbers, seed, vocabulary.special_ids)
        places = np.broadcast_to(np.arange(contexts.shape[1]), contexts.shape)
        return Corrupted(np.where(hit, np.roll(contexts, 1, axis=1), contexts), np.where(hit, REPLACED, places))
"""


def test_jobs_run_this_checkouts_library_whatever_is_installed(checkout):
    checkout.append("scripts/maskedsae/activations/language_models.py", "\n\nraise RuntimeError('of this checkout')\n")
    checkout.snakemake("results/tiny/neox/model.json")
    assert checkout.status != 0
    assert "RuntimeError: of this checkout" in (checkout.folder / "results/tiny/logs/model/neox.log").read_text()


def test_a_text_that_is_not_there_is_said_even_where_nothing_is_to_be_done(checkout):
    checkout.config["corpus"]["files"] = ["corpus/short.txt", "corpus/gone.txt"]
    output = checkout.snakemake("--dry-run", "grid")
    assert checkout.status != 0
    assert "configuration: corpus.files: corpus/gone.txt is not here (" in output


# SAEs of section `saes`: one is a cell's own folder, one was downloaded.

TO_IMPORTED = (*TO_PROBES, "fetch_sae", "import_sae", *TO_ROBUSTNESS[3:])
CELL, AGAIN = Cell("tiny", "neox", "clean", MATRYOSHKA, 4, 0), Imported("tiny", "neox", "again")


def sae_entry(name: str, **origin: object) -> dict:
    return {"name": name, "model": "neox", "from": origin}


def jobs_of(name: str, *rules: str) -> set[str]:
    return {f"{rule}/neox_imported_{name}" for rule in rules or ("import_sae", "ood", "robustness")}


@pytest.fixture(scope="module")
def importing(finished, tmp_path_factory) -> Checkout:
    """The tiny grid's run, with the first one imported and scored, and the other one imported."""
    checkout = Checkout(finished, TINY).copy_to(tmp_path_factory.mktemp("imported"))
    write_dictionary_learning(checkout.folder / "downloads" / "theirs", "GatedAutoEncoder")
    checkout.config["saes"] = [
        sae_entry("again", folder=f"{CELL.folder}/sae"),
        sae_entry("theirs", folder="downloads/theirs"),
    ]
    scores = [f"{AGAIN.folder}/scores/{name}.json" for name in ("ood", "robustness")]
    output = checkout.snakemake("saes", *scores)
    assert checkout.status == 0, output
    return checkout


@pytest.fixture
def imported(importing, tmp_path) -> Checkout:
    return importing.copy_to(tmp_path)


def test_an_imported_sae_of_the_grid_has_the_same_numbers_again(importing):
    def read(sae: Cell | Imported, file: str) -> dict:
        return read_json(importing.folder / sae.folder / file)

    for file in ("sae/config.json", "sae/cfg.json", "scores/ood.json", "scores/robustness.json"):
        assert read(AGAIN, file) == read(CELL, file), file
    first, second = (read(sae, "scores/parents.json") for sae in (CELL, AGAIN))
    assert first["latents"] == second["latents"]
    assert {key: value for key, value in first["scores"].items() if not key.startswith("l0_")} == second["scores"]
    quality = read(CELL, "sae/quality.json")
    assert quality.pop("nominal_l0") == 4 and quality == read(AGAIN, "sae/quality.json")


def test_another_imported_sae_adds_only_its_own_jobs(imported):
    left = jobs_of("theirs", "ood", "robustness")
    assert set(imported.planned("grid", TO_IMPORTED)) == left
    at_6 = {"stream": "clean", "trainer": MATRYOSHKA, "l0": 4, "seed": 0, "threshold_for_l0": 6}
    imported.config["saes"] += [
        sae_entry("pca", baseline={"kind": "pca", "latents": 32}),
        sae_entry("reset", cell=at_6),
        sae_entry("hub", dictionary_learning={"repository": "someone/saes", "folder": "a"}),
    ]
    added = jobs_of("pca") | jobs_of("reset") | jobs_of("hub") | {"fetch_sae/neox_imported_hub"}
    assert set(imported.planned("grid", TO_IMPORTED)) == left | added
    source = imported.folder / Imported("tiny", "neox", "hub").folder / "source" / "manifest.json"
    write_json(source, {})
    (imported.folder / "results/tiny/neox/model.json").touch()
    later = imported.planned("grid", TO_IMPORTED)
    assert "import_sae/neox_imported_hub" in later and "fetch_sae/neox_imported_hub" not in later


@pytest.mark.parametrize("entries", [[], [sae_entry("other", baseline={"kind": "raw"})]], ids=["none", "another"])
def test_an_sae_of_no_entry_is_no_rules(entries, checkout):
    checkout.config["saes"] = entries
    output = checkout.snakemake("--dry-run", f"{AGAIN.folder}/scores/ood.json")
    assert checkout.status != 0 and "StopIteration" not in output
    assert "MissingRuleException:\nNo rule to produce results/tiny/neox/imported/again/scores/ood.json" in output


def test_a_changed_entry_file_or_importing_redoes_what_is_made_of_it(imported):
    imported.config["saes"][0]["from"] = {"baseline": {"kind": "raw"}}
    write_dictionary_learning(imported.folder / "downloads" / "other", "AutoEncoder")
    (imported.folder / "downloads/other/ae.pt").replace(imported.folder / "downloads/theirs/ae.pt")
    assert set(imported.planned("grid", TO_IMPORTED)) == jobs_of("again") | jobs_of("theirs")
    imported.config["saes"] = []
    assert imported.planned("grid", TO_IMPORTED) == {}
    imported.append("scripts/maskedsae/saes/imported/peers.py", "\n\nCHANGED = 1\n")
    imported.config["saes"] = [sae_entry("again", folder=f"{CELL.folder}/sae")]
    assert set(imported.planned("grid", TO_IMPORTED)) == jobs_of("again")


def test_an_sae_that_is_trained_again_is_imported_again(imported):
    imported.config["trainer_settings"][MATRYOSHKA]["lr"] = 1e-3
    planned = set(imported.planned("grid", TO_IMPORTED))
    assert jobs_of("again") <= planned and "import_sae/neox_imported_theirs" not in planned


def test_a_folder_whose_sae_does_not_fit_is_refused_before_any_job(imported):
    config = imported.folder / "downloads/theirs/config.json"
    config.write_text(config.read_text().replace('"layer": 1', '"layer": 0'))
    output = imported.snakemake("--dry-run", "saes")
    assert imported.status != 0
    assert "configuration: saes: theirs: from.folder: downloads/theirs/config.json: the SAE reads layer 0, " in output
