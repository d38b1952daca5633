"""The paper's run from nothing to the report, but for sizes and the device: config.yaml, `snakemake --profile slurm`, a
real Slurm whose nodes have no network, and a hub on loopback with everything under the paper's own names."""

import os
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from checkout import Checkout, configuration_of, copy_workflow
from hub import TOKEN
from hub_content import AMAZON, BIOS, CODE, CORE, EUROPARL, GEMMA, NEWS, PILE, PYTHIA, papers_hub
from maskedsae.experiment.settings import saebench_texts

OVERLAY = yaml.safe_load((Path(__file__).parent / "rehearsal.yaml").read_text())
OFTEN = ("--slurm-init-seconds-before-status-checks", "1")  # looks after its jobs oftener than a cluster would like
FETCHING = ("model", "tokens", "saebench_data")
FETCHED = ("*/model.json", "*/tokens/manifest.json", "saebench/data/manifest.json")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    hub = papers_hub(tmp_path_factory.mktemp("hub"), saebench_texts(configuration_of(OVERLAY))).start()
    yield hub
    hub.stop()


@pytest.fixture(scope="module")
def run(tmp_path_factory, cluster, hub):
    """From nothing to the report."""
    checkout = Checkout(tmp_path_factory.mktemp("rehearsal"), OVERLAY)
    checkout.profile = ["--profile", "slurm", *OFTEN, "--jobs", "4"]
    copy_workflow(checkout.folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("HF_")]:
            patch.delenv(name)
        for name in ("HF_ENDPOINT", "HF_HOME"):
            patch.setenv(name, hub.environment(checkout.folder / "home")[name])
        patch.setenv("HF_TOKEN", TOKEN)
        output = checkout.snakemake()  # the default target, `all`
        assert checkout.status == 0, output
        yield checkout


def rules(checkout: Checkout, cluster) -> Counter:
    """Jobs of each rule that ran on the cluster."""
    names = [job.rule for job in cluster.jobs() if job.asked["WorkDir"] == str(checkout.folder)]
    return Counter("train" if name.startswith("train_") else name for name in names)


def test_it_makes_the_papers_tables_and_the_report(run, cluster):
    results = run.folder / "results/paper"
    assert (results / "report.html").stat().st_size > 100_000
    assert len(list(results.glob("*/*/*/l0_*/seed_0/scores/absorption.json"))) == 18
    assert rules(run, cluster) == {
        "train": 6,
        "ood_activations": 2,
        "oracle": 2,
        "ood": 18,
        "robustness_activations": 2,
        "robustness": 18,
        "mechanism": 2,
        "saebench_model": 2,
        "saebench": 18,
    }
    assert "Nothing to be done" in run.snakemake("--dry-run", "all")


def test_the_hub_is_asked_for_each_repository_while_fetching_and_by_no_compute_node(run, hub):
    paths = Counter((request.method, unquote(request.path).split("?")[0]) for request in hub.requests)
    print("\n".join(f"{count:4} {method} {path}" for (method, path), count in sorted(paths.items())))
    for name in (PYTHIA, GEMMA, PILE, BIOS, AMAZON, NEWS, CODE, EUROPARL, CORE):
        assert any(f"/{name}/" in path for _, path in paths), name
    assert {request.origin for request in hub.requests} == {""}
    fetched = [path.stat().st_mtime for pattern in FETCHED for path in run.folder.glob(f"results/paper/{pattern}")]
    assert len(fetched) == 5
    assert max(request.time for request in hub.requests) < max(fetched)


def test_a_new_l0_and_a_new_seed_run_only_their_own_jobs_and_ask_nothing(run, cluster, hub):
    before, asked = rules(run, cluster), len(hub.requests)
    run.config["l0"] = [20, 40, 80, 160, 10]
    assert set(run.planned("saes", rules=("model", "tokens", "train"))) == {
        f"train/{model}_{stream}_matryoshka_batch_topk_l0_10_seed_0"
        for model in ("pythia-160m-deduped", "gemma-2-2b")
        for stream in ("clean", "mask30")
    }
    run.config["seeds"] = [0, 1]
    new = ("clean/matryoshka_batch_topk/l0_10/seed_0", "mask30/matryoshka_batch_topk/l0_20/seed_1")
    output = run.snakemake(*(f"results/paper/pythia-160m-deduped/{cell}/scores/ood.json" for cell in new))
    assert run.status == 0, output
    assert rules(run, cluster) - before == {"train": 2, "ood": 2}
    assert len(hub.requests) == asked
