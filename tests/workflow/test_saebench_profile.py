"""profiles/saebench/: SAEBench's own SAEs from the hub to the report, on stand-ins of the same layout.

One of the twelve goes all the way, by two evals, since each more costs time. (Two SAEs by all five evals were run once
by hand, and tests/slurm/test_rehearsal.py runs all five on the grid's SAEs.)
"""

import csv
import json
import os
import re
from collections import Counter
from copy import deepcopy
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch
import yaml
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
from snakemake.utils import update_config

from checkout import Checkout, configuration_of, copy_workflow
from hub import TOKEN, Hub
from hub_content import papers_hub
from maskedsae.experiment.settings import saebench_texts
from scored import write_cell

ROOT = Path(__file__).parents[2]
PROFILE = "profiles/saebench/saebench.yaml"
OVERLAY = yaml.safe_load((ROOT / PROFILE).read_text())
SMALL = yaml.safe_load((ROOT / "tests/slurm/rehearsal.yaml").read_text())  # sizes, for a CPU
SAES = [entry for entry in OVERLAY["saes"] if entry["name"] == "pythia-matryoshka-3"]
WIDTH, LATENTS = 64, 512
PUBLISHED = {"legacy": 0.125, "tpp": 0.5}


def small() -> dict:
    """The profile's overlay with one of its SAEs, one language model, two evals, and small sizes."""
    config = deepcopy(OVERLAY)
    update_config(config, SMALL)
    config["saebench"]["evals"] = ["core", "tpp"]
    lacking = dict.fromkeys(("absorption", "absorption_fraction", "sparse_probing"))
    return config | {"saes": deepcopy(SAES), "models": config["models"][:1], "analysis": {"endpoints": lacking}}


@torch.no_grad()
def write_sae(folder: Path, layer: int, threshold: float) -> None:
    """As the suite has them, with random weights; on activations of rms 16 some latents are active."""
    torch.manual_seed(layer)
    sae = MatryoshkaBatchTopKSAE(WIDTH, LATENTS, 20, [16, 32, 64, 128, 272])
    sae.W_enc.copy_(sae.W_dec.T)
    sae.threshold.fill_(threshold)
    folder.mkdir(parents=True)
    torch.save(sae.state_dict(), folder / "ae.pt")
    trainer = {"trainer_class": "MatryoshkaBatchTopKTrainer", "dict_class": "MatryoshkaBatchTopKSAE", "k": 20}
    trainer |= {"activation_dim": WIDTH, "dict_size": LATENTS, "layer": layer, "lm_name": "EleutherAI/…"}
    trainer |= {"submodule_name": f"resid_post_layer_{layer}"}
    buffer = {"d_submodule": WIDTH, "io": "out", "ctx_len": 1024, "device": "cuda"}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": buffer}))


def add_suite(hub: Hub, folder: Path) -> None:
    """The SAEs and their results, under the names that the profile has."""
    for entry in SAES:
        place, theirs = entry["from"]["dictionary_learning"], entry["published"]
        write_sae(folder / "saes" / place["folder"], 8, 30.0)
        write_cell(folder / "cells" / entry["name"], **PUBLISHED)
        for name in ("absorption", "core", "sparse_probing", "tpp"):  # scr is not there
            file = f"{name}/{theirs['folder']}/{theirs['folder']}_{theirs['sae']}_eval_results.json"
            (folder / "results" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "cells" / entry["name"] / "scores" / f"{name}.json").rename(folder / "results" / file)
    hub.commit("models", SAES[0]["from"]["dictionary_learning"]["repository"], folder / "saes")
    hub.commit("datasets", SAES[0]["published"]["repository"], folder / "results")
    results = hub.repositories["datasets", SAES[0]["published"]["repository"]]
    (files,) = results.commits.values()
    results.commits = {SAES[0]["published"]["revision"]: files}  # the one that the profile names


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    hub = papers_hub(folder, saebench_texts(configuration_of(small())))
    add_suite(hub, folder / "suite")
    hub.start()
    yield hub
    hub.stop()


@pytest.fixture(scope="module")
def run(tmp_path_factory, hub):
    checkout = Checkout(tmp_path_factory.mktemp("saebench"), small())
    copy_workflow(checkout.folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("HF_")]:
            patch.delenv(name)
        for name in ("HF_ENDPOINT", "HF_HOME"):
            patch.setenv(name, hub.environment(checkout.folder / "home")[name])
        patch.setenv("HF_TOKEN", TOKEN)
        output = checkout.snakemake()
        assert checkout.status == 0, output
        yield checkout


def test_it_makes_the_tables_the_figure_and_the_report_and_trains_nothing(run):
    results = run.folder / "results/saebench"
    assert (results / "figures/decides.svg").exists()
    page = (results / "report.html").read_text()
    for words in (
        "1 imported sparse autoencoder, on activations of pythia-160m-deduped",
        "Other settings than ours in tpp",
        "Not asked for (saebench.evals): Mean",
    ):
        assert words in page
    assert not list(results.glob("*/*/*/l0_*"))
    assert "Nothing to be done" in run.snakemake("--dry-run", "all")


def test_ours_less_theirs_is_that_of_the_files(run):
    with (run.folder / "results/saebench/tables/published.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["trainer"] for line in lines} == {entry["name"] for entry in SAES}
    for name, key in (("legacy", "core.explained_variance_legacy"), ("tpp", "tpp.tpp_threshold_20_total_metric")):
        found = [line for line in lines if line["metric"] == key]
        assert len(found) == len(SAES)
        for line in found:
            metrics = json.loads((run.folder / line["source"]).read_text())["eval_result_metrics"]
            (ours,) = (part[key.split(".")[1]] for part in metrics.values() if key.split(".")[1] in part)
            assert (float(line["ours"]), float(line["published"])) == (ours, PUBLISHED[name])
            assert float(line["difference"]) == ours - PUBLISHED[name]
            assert line["published_source"].startswith("adamkarvonen/sae_bench_results_0125@df1730fc7bd3")


def test_each_file_of_the_suite_is_asked_of_the_hub_at_one_commit(run, hub):
    paths = Counter(unquote(request.path).split("?")[0] for request in hub.requests)
    (commit,) = hub.repositories["models", SAES[0]["from"]["dictionary_learning"]["repository"]].commits
    for entry in SAES:
        place, theirs = entry["from"]["dictionary_learning"], entry["published"]
        for name in ("ae.pt", "config.json"):
            assert paths[f"/{place['repository']}/resolve/{commit}/{place['folder']}/{name}"]
        file = f"tpp/{theirs['folder']}/{theirs['folder']}_{theirs['sae']}_eval_results.json"
        assert paths[f"/datasets/{theirs['repository']}/resolve/{theirs['revision']}/{file}"]
        kept = run.folder / f"results/saebench/{entry['model']}/imported/{entry['name']}/published.json"
        sought = f"{theirs['repository']}@{theirs['revision']}:{file.replace('tpp', 'scr', 1)}"
        assert json.loads(kept.read_text())["scr"] == {"not_there": sought}


def test_a_name_that_the_results_do_not_have_is_refused(run):
    other = Checkout(run.folder, deepcopy(run.config))
    other.config["saes"][0]["published"]["sae"] = "trainer_9"
    output = other.snakemake("results/saebench/pythia-160m-deduped/imported/pythia-matryoshka-3/published.json")
    assert other.status != 0
    theirs = SAES[0]["published"]
    looked_for = f"{{eval}}/{theirs['folder']}/{theirs['folder']}_trainer_9_eval_results.json"
    said = f"{theirs['repository']} has no {looked_for} (commit {theirs['revision']}): correct folder or sae"
    assert f"saes: pythia-matryoshka-3: published: {said}" in output


def test_the_profile_itself_plans_the_scores_of_twelve_saes_and_no_training(run):
    twelve = Checkout(run.folder, None)
    output = twelve.snakemake("--configfile", PROFILE, "--dry-run", "all", "plan")
    assert twelve.status == 0, output
    jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}
    for rule in ("fetch_sae", "published", "import_sae", "saebench_imported", "ood_imported", "robustness_imported"):
        # A test before this one may have fetched one, and it stays.
        assert jobs[rule] == 12 or (rule, jobs[rule]) == ("fetch_sae", 11), rule
    assert not [rule for rule in jobs if rule.startswith("train")]
