"""SAEBench's five scores of the demo's SAEs: real ones, the same however they are made, and none lost in silence."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml
from snakemake.utils import update_config

from checkout import demo_config
from checkout import snakemake_demo as snakemake
from conftest import CHECKED, unchecked
from maskedsae.activations.language_models import read_facts
from maskedsae.experiment.checks import check
from maskedsae.experiment.configuration import Configuration
from maskedsae.experiment.settings import scoring, sharing
from maskedsae.jobs.compute import Compute, Tflops
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import read_json, sha256, write_json
from maskedsae.jobs.params import settings_of, spelled_out
from maskedsae.jobs.typed import plain
from maskedsae.scores.ood.latents import Encoder
from maskedsae.scores.saebench.language_model import hooked_transformer
from maskedsae.scores.saebench.names import EVALS, RECORDED, SCORES
from maskedsae.scores.saebench.scoring import Subject, identities, score
from maskedsae.scores.saebench.settings import Bench, Sharing
from maskedsae.scores.saebench.shared import make_shared, share

ROOT = Path(__file__).parents[2]
MODELS = ("pythia-demo", "gemma-demo")
CELL = "results/demo/{}/clean/matryoshka_batch_topk/l0_8/seed_0"
OF_THE_RUN = ("eval_id", "datetime_epoch_millis", "sae_lens_release_id")  # when, and under which name


def numbers(path: Path) -> dict:
    return {key: value for key, value in json.loads(path.read_text()).items() if key not in OF_THE_RUN}


def scores(cell: Path) -> dict[str, dict]:
    return {name: numbers(cell / "scores" / f"{name}.json") for name in SCORES}


@pytest.fixture(scope="module")
def config() -> Configuration:
    return configuration()


def configuration(**saebench) -> Configuration:
    """The demo's; with other settings of evals."""
    return check(changed(demo_config(), {"saebench": saebench}))


def changed(config: dict, overlay: dict) -> dict:
    update_config(config, overlay)
    return config


def files_of(folder: Path) -> dict[str, tuple]:
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def test_every_cell_has_its_scores_and_absorption_is_a_real_number(demo_cells):
    for cell, folder in demo_cells.items():
        found = scores(folder)
        metrics = {name: found[name]["eval_result_metrics"] for name in EVALS}
        assert len(found["absorption"]["eval_result_details"]) >= 20, cell
        shown = [
            metrics["absorption"]["mean"]["mean_full_absorption_score"],
            metrics["sparse_probing"]["sae"]["sae_top_1_test_accuracy"],
            found["variance"]["centred"],
            found["variance"]["saebench_legacy"],
        ]
        assert all(0 < value < 1 for value in shown), (cell, shown)
        assert all(math.isfinite(metrics["scr"]["scr_metrics"][f"scr_metric_threshold_{n}"]) for n in (2, 20, 100))
        assert all(-1 < metrics["tpp"]["tpp_metrics"][f"tpp_threshold_{n}_total_metric"] < 1 for n in (2, 20, 100))
        assert sorted(path.name for path in (folder / "saebench").iterdir()) == sorted(EVALS)  # no lease, nothing half


def test_an_sae_of_the_grid_that_is_imported_has_the_same_scores_number_for_number(demo, demo_cells):
    cell, again = demo_cells["pythia-demo", "clean", 8], demo / "results/demo/pythia-demo/imported/again"
    assert (again / "sae/SHA256SUMS").read_text() == (cell / "sae/SHA256SUMS").read_text()
    assert scores(again) == scores(cell)
    for name in ("ood", "robustness"):
        assert numbers(again / "scores" / f"{name}.json") == numbers(cell / "scores" / f"{name}.json")


def test_what_made_the_scores_is_written_and_nothing_recorded_was_computed_again(demo_cells):
    for folder in demo_cells.values():
        origin = read_json(folder / "scores/provenance.json")
        assert origin["versions"]["sae-bench"] == version("sae-bench")
        assert origin["sha256"] == {name: sha256(folder / f"scores/{name}.json") for name in SCORES}
        assert origin["evals"].keys() == set(EVALS)
        assert {record["threads"] for record in origin["evals"].values()} == {1} and "threads" not in origin
        assert origin["device"].startswith("cpu (")
        for eval_name in RECORDED:
            calls = origin["evals"][eval_name]["calls"]
            assert calls["hits"] > 0 and calls["misses"] == 0, (folder, eval_name)


def test_masking_or_not_the_tokens_of_core_are_the_same(demo_cells):
    """Explained variances of a model's SAEs are on the same tokens, since these do not depend on the SAE."""
    for model in MODELS:
        assert (
            len({scores(folder)["variance"]["tokens"] for cell, folder in demo_cells.items() if cell[0] == model}) == 1
        )


def test_l0_is_that_of_the_texts_that_each_eval_scores(demo_cells, demo):
    for (model, *_), folder in demo_cells.items():
        found, l0 = scores(folder), read_json(folder / "scores/l0.json")
        assert l0.keys() == {name for each in EVALS for name in (each, f"{each}_tokens")}
        assert (l0["core"], l0["core_tokens"]) == (found["variance"]["l0"], found["variance"]["tokens"])
        letters = found["absorption"]["eval_result_details"]
        assert l0["absorption_tokens"] >= sum(letter["num_probe_true_positives"] for letter in letters)
        assert min(l0[name] for name in EVALS) > 1
        if "clean" not in folder.parts:
            continue
        # By hand, from the activations that all SAEs of the model share. SAEBench zeroes those of special tokens.
        encode, active, tokens = Encoder(folder / "sae"), 0, 0
        files = list((demo / f"results/demo/{model}/saebench/artifacts/sparse_probing").rglob("*_activations.pt"))
        for file in files:
            sets = torch.load(file)
            for x in (*sets["train"].values(), *sets["test"].values()):
                rows = x[x.abs().sum(-1) > 0]
                tokens += len(rows)
                active += (encode(rows) > 0).sum().item()
        assert len(files) == 8
        assert l0["sparse_probing_tokens"] == tokens
        # Sums in another order: of millions of latents, a few lie on the threshold.
        assert l0["sparse_probing"] == pytest.approx(active / tokens, rel=1e-5)


@pytest.mark.parametrize("eval_name", EVALS)
@pytest.mark.parametrize("model", MODELS)
def test_saebenchs_own_run_eval_gives_our_numbers(demo, config, model, eval_name, tmp_path):
    folder = demo / CELL.format(model)
    arguments = [eval_name, folder, demo / f"results/demo/{model}", demo / "results/demo/saebench/data"]
    arguments += [json.dumps(plain(config.saebench)), tmp_path / "work"]
    done = subprocess.run(
        [sys.executable, ROOT / "tests/demo/directly.py", *map(str, arguments)],
        cwd=demo,  # model.json has the language model's path as seen from there
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (theirs,) = (tmp_path / "work/out").rglob("*_eval_results.json")
    of_place = ("sae_bench_commit_hash",)
    differing = [
        key
        for key, value in numbers(theirs).items()
        if key not in of_place and value != numbers(folder / f"scores/{eval_name}.json")[key]
    ]
    assert not differing
    if eval_name == "absorption":  # SAEBench leaves this out of its result
        (probes,) = (tmp_path / "work/artifacts/absorption").glob("*_k_sparse_probing.json")
        letters, ours = json.loads(probes.read_text()), read_json(folder / "scores/letters.json")
        scored = [letter for letter in letters if letter["f1_probe"] > 0.6]
        assert len(ours) == 2 + 2 * len(scored) > 40
        for name, key in (("best_latent_f1", "f1_sparse_sae_1"), ("probe_f1", "f1_probe")):
            assert {letter["letter"]: ours[f"{letter['letter']}.{name}"] for letter in scored} == {
                letter["letter"]: letter[key] for letter in scored
            }
            assert ours[name] == pytest.approx(sum(letter[key] for letter in scored) / len(scored))


def test_deleting_a_cells_scores_remakes_them_as_they_were_and_writes_nowhere_else(demo, tmp_path):
    """Alone this time, in a new process, with a home of its own and SAEBench's package watched."""
    import sae_bench

    cell, home = demo / CELL.format("pythia-demo"), tmp_path / "home"
    home.mkdir()
    before, package = scores(cell), files_of(Path(sae_bench.__file__).parents[1] / "sae_bench")
    shared = files_of(demo / "results/demo/pythia-demo/saebench")
    others = {path: stat for path, stat in files_of(demo / "results").items() if "/scores/" in path}
    (cell / "scores/tpp.json").unlink()
    shutil.rmtree(cell / "saebench")
    hidden = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "HF_HOME": str(home / "hf")}
    done = snakemake(demo, "scores", env=os.environ | hidden)
    assert done.returncode == 0, done.stdout + done.stderr
    assert scores(cell) == before
    assert files_of(Path(sae_bench.__file__).parents[1] / "sae_bench") == package
    assert files_of(demo / "results/demo/pythia-demo/saebench") == shared
    assert [path for path in files_of(home) if "snakemake" not in path] == []
    after = files_of(demo / "results")
    remade = {path for path, stat in others.items() if after[path] != stat}
    assert remade == {str(cell / f"scores/{name}.json") for name in (*SCORES, "provenance")}


@pytest.mark.parametrize(
    ("name", "key", "value", "before"),
    [
        ("scr_and_tpp", "n_values", [2, 20], set()),
        ("absorption", "f1_jump_threshold", 0.05, set()),
        ("sparse_probing", "probe_test_set_size", 40, {"saebench_data", "saebench_model"}),
        ("absorption", "bos", False, {"saebench_model"}),
    ],
)
def test_a_changed_setting_redoes_what_it_bears_on(demo, tmp_path, name, key, value, before):
    """SAEs are scored again, imported ones too, and what comes before that if it changes."""
    redone = {"saebench", "saebench_imported", *before}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"saebench": {name: {key: value}}}))
    overlays = ["--configfile", "profiles/demo/demo.yaml", str(tmp_path / "more.yaml")]
    done = snakemake(demo, "--dry-run", "--quiet", "host", *overlays)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(re.findall(r"^(?:local)?rule (saebench\w*):", done.stdout, re.MULTILINE)) == redone
    assert not any(line.startswith("rule train_") for line in done.stdout.splitlines())


# What goes wrong.


@pytest.fixture
def copied(demo, tmp_path, monkeypatch) -> Path:
    """A cell, what it needs, and the current folder there."""
    for name in ("pythia-demo/model.json", "pythia-demo/saebench", "saebench/data", "world/gpt-neox"):
        source, goal = demo / "results/demo" / name, tmp_path / "results/demo" / name
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, goal, symlinks=True) if source.is_dir() else shutil.copy2(source, goal)
    shutil.copytree(demo / CELL.format("pythia-demo"), tmp_path / CELL.format("pythia-demo"))
    monkeypatch.chdir(tmp_path)
    return Path(CELL.format("pythia-demo"))


RESULTS = Path("results/demo")
COMPUTE = Compute("cpu", 1, 1, 1, 1, 50, 8, 1, Tflops(1, 1, 1), 10, False)


def in_folders(names: Sequence[str], writes: list[Path | str]) -> list[Path | str]:
    """The checks of leases, and the files in folders of these names."""
    return [event for event in writes if event == CHECKED or event.parent.name in names]


def subject_of(cell: Path) -> Subject:
    facts, shared = read_facts(RESULTS / "pythia-demo/model.json"), RESULTS / "pythia-demo/saebench"
    return Subject("the cell", cell, facts, shared, RESULTS / "saebench/data", "cpu", 1)


def scored(cell: Path, config: Configuration, threads: int = 1) -> dict[str, dict]:
    return score(replace(subject_of(cell), threads=threads), scoring(config, "pythia-demo"))


def records(cell: Path) -> dict[str, tuple]:
    """When each eval's record was written; another time means that it ran again."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (cell / "saebench").glob("*/record.json")}


def ran_again(before: dict[str, tuple], after: dict[str, tuple]) -> set[str]:
    return {name for name in EVALS if before.get(name) != after.get(name)}


TEXTS, PART = RESULTS / "saebench/data/manifest.json", RESULTS / "pythia-demo/saebench/manifest.json"
ON_BIOS = {"sparse_probing", "tpp", "scr"}


@pytest.mark.parametrize(
    ("changes", "file", "before", "after", "concerned"),
    [
        ({"absorption": {"f1_jump_threshold": 0.05}}, None, "", "", {"absorption"}),
        ({"absorption": {"bos": False}}, None, "", "", {"absorption"}),
        ({"core": {"exclude_special_tokens_from_reconstruction": False}}, None, "", "", {"core"}),
        ({"sparse_probing": {"sae_batch_size": 7}}, None, "", "", {"sparse_probing"}),
        ({"scr_and_tpp": {"n_values": [2, 20]}}, None, "", "", {"tpp", "scr"}),
        ({"scr_and_tpp": {"ties": "error"}}, None, "", "", {"scr"}),
        ({"seed": 43}, None, "", "", set(EVALS)),
        ({}, TEXTS, "LabHC/bias_in_bios", "train.parquet", ON_BIOS),
        ({}, TEXTS, "Skylion007/openwebtext", "train.parquet", {"core"}),
        ({}, PART, "tpp", "identity", {"tpp"}),
    ],
)
def test_each_eval_depends_on_its_own_settings_texts_and_part(copied, config, changes, file, before, after, concerned):
    known = identities(subject_of(copied), scoring(config, "pythia-demo"))
    assert len(set(known.values())) == len(EVALS)
    if file:  # another checksum, or another part
        manifest = read_json(file)
        record = manifest["sets"][before]["files"] if file == TEXTS else manifest["parts"][before]
        record[after] = "another"
        write_json(file, manifest)
    other = identities(subject_of(copied), scoring(configuration(**changes), "pythia-demo"))
    assert {name for name in EVALS if known[name] != other[name]} == concerned


def test_another_sae_or_language_model_is_another_for_every_eval(copied, config):
    subject, settings = subject_of(copied), scoring(config, "pythia-demo")
    known = identities(subject, settings)
    moved = identities(replace(subject, facts=replace(subject.facts, layer=2)), settings)
    (copied / "sae/SHA256SUMS").write_text("another")
    assert all(known[name] != moved[name] for name in EVALS)
    assert all(known[name] != identities(subject, settings)[name] for name in EVALS)


def test_a_changed_setting_of_absorption_scores_absorption_again_and_nothing_else(copied):
    before, ran = scores(copied), records(copied)
    shutil.rmtree(copied / "scores")
    scored(copied, configuration(absorption={"f1_jump_threshold": 0.5}))
    assert ran_again(ran, records(copied)) == {"absorption"}
    after = scores(copied)
    assert after["absorption"]["eval_config"]["f1_jump_threshold"] == 0.5
    assert {name for name in SCORES if before[name] != after[name]} == {"absorption"}


def test_an_eval_that_fails_loses_and_repeats_nothing_and_stale_results_are_not_taken(copied, config, writes):
    text = Path("results/demo/saebench/data", config.saebench.core.dataset)
    text.rename("away")
    before, ran = scores(copied), records(copied)
    for folder in ("scores", "saebench/core"):
        shutil.rmtree(copied / folder)
    (copied / "saebench/work-0123").mkdir()  # of a killed job
    shutil.copy(copied / "saebench/tpp/tpp.json", copied / "saebench/scr/scr.json")  # altered
    record = read_json(copied / "saebench/tpp/record.json")
    write_json(copied / "saebench/tpp/record.json", record | {"identity": "0123456789abcdef"})  # of other settings
    with pytest.raises(InputError) as error:  # an exception that core catches, logs and goes on from
        scored(copied, config)
    message = str(error.value)
    assert message.startswith("1 of 5 evals failed (the 4 others are kept): the cell: core: SAEBench wrote no result: ")
    assert "Failed to evaluate SAE" in message
    assert not (copied / "scores").exists()
    kept = records(copied)
    assert ran_again(ran, kept) == {"core", "tpp", "scr"} and "core" not in kept
    Path("away").rename(text)
    writes.clear()
    scored(copied, config)
    published = in_folders(["scores"], writes)
    assert len(published) > len(SCORES) and unchecked(published) == []
    assert ran_again(kept, records(copied)) == {"core"}
    assert scores(copied) == before
    assert sorted(path.name for path in (copied / "saebench").iterdir()) == sorted(EVALS)


def scoring_process(cell: Path, before: str = "pass", threads: int = 1) -> subprocess.Popen:
    """A process of its own that scores a cell, after the line `before`."""
    program = "import logging, sys, torch; from test_scores import *; logging.basicConfig(level='INFO', force=True); "
    program += f"{before}; scored(Path(sys.argv[1]), configuration(), {threads})"
    places = os.pathsep.join(str(ROOT / name) for name in ("scripts", "tests", "tests/demo"))
    command = [sys.executable, "-c", program, str(cell)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": places}, stderr=subprocess.PIPE, text=True)


def test_absorption_runs_in_the_mix_of_formats_that_it_has_on_a_gpu(copied):
    """Where SAEBench sees a GPU, it reads its probes in bfloat16, also beside an SAE in float32 such as Pythia's."""
    before = scores(copied)
    for folder in ("scores", "saebench/absorption"):
        shutil.rmtree(copied / folder)
    seen = "torch.cuda.is_available = lambda: sys._getframe(1).f_globals['__name__'].startswith('sae_bench.')"
    process = scoring_process(copied, seen)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    after = scores(copied)
    # Another probe: other letters' F1, and sometimes other words that are scored, on which l0 is counted.
    assert {name for name in SCORES if before[name] != after[name]} - {"l0"} == {"absorption", "letters"}
    key = "mean_absorption_fraction_score"
    one, other = (found["absorption"]["eval_result_metrics"]["mean"][key] for found in (before, after))
    assert one != other
    assert one == pytest.approx(other, abs=0.01)  # bfloat16 has two to three digits


def test_an_eval_may_use_threads_though_its_parent_has_checked_the_sae(copied):
    """As in the paper's run. A pool of threads that the parent made would keep the child waiting for ever."""
    shutil.rmtree(copied / "saebench/core")
    process = scoring_process(copied, "torch.set_num_threads(2)", threads=2)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    assert read_json(copied / "saebench/core/record.json")["threads"] == 2


def test_of_two_processes_on_one_cell_the_second_waits_and_scores_nothing(copied):
    before = scores(copied)
    for folder in ("scores", "saebench"):
        shutil.rmtree(copied / folder)
    started = [scoring_process(copied) for _ in range(2)]
    logs = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], logs
    assert sorted(lines.count(": kept, since nothing that it depends on has changed") for lines in logs) == [0, 5]
    assert scores(copied) == before


def test_a_changed_setting_of_absorption_remakes_what_saes_share_in_absorption_alone(copied):
    """What they share in the other evals stays, and so do these evals' scores."""
    shared = Path("results/demo/pythia-demo/saebench")
    before, settings = files_of(shared), configuration(absorption={"bos": False})
    known = identities(subject_of(copied), scoring(settings, "pythia-demo"))
    make(settings)
    changed = {path for path, stat in files_of(shared).items() if before.get(path) != stat}
    assert f"{shared}/probes/pythia-demo/layer_1/probe.pth" in changed
    assert all("probes" in path or "absorption" in path or path.endswith("manifest.json") for path in changed)
    after = identities(subject_of(copied), scoring(settings, "pythia-demo"))
    assert {name for name in EVALS if known[name] != after[name]} == {"absorption"}


def test_what_a_failed_start_had_finished_is_kept_and_the_manifest_comes_out_the_same(copied, config, writes):
    shared = Path("results/demo/pythia-demo/saebench")
    text = Path("results/demo/saebench/data", config.saebench.core.dataset)
    before = read_json(shared / "manifest.json")
    shutil.rmtree(shared)
    text.rename("away")
    with pytest.raises(InputError, match="pythia-demo: core: "):
        make(config)
    kept = {path: stat for path, stat in files_of(shared).items() if "probes" in path or "absorption" in path}
    assert any(path.endswith("parts/absorption.json") for path in kept)
    Path("away").rename(text)
    writes.clear()
    make(config)
    assert writes and unchecked(in_folders(["parts", "saebench"], writes)) == []
    after = files_of(shared)
    assert all(after[path] == stat for path, stat in kept.items())
    assert read_json(shared / "manifest.json") == before  # of a process that made all at once


def test_too_few_letters_are_said_once_a_model_and_before_all_else(copied):
    strict = configuration(absorption={"min_GT_probe_f1": 1.0})
    with pytest.raises(InputError) as error:
        make(strict)
    message = str(error.value)
    assert message.startswith("pythia-demo: absorption: the language model pythia-demo spells only 0 first letters")
    assert "absorption needs 20: choose a larger model" in message


def make(config: Configuration) -> None:
    settings = settings_of(Sharing, spelled_out(sharing(config, "pythia-demo")))  # as the rule has them
    folders = (RESULTS / "pythia-demo/saebench/manifest.json", RESULTS / "saebench/data/manifest.json")
    make_shared(folders[0], RESULTS / "pythia-demo/model.json", settings, folders[1], COMPUTE)


@pytest.mark.parametrize("eval_name", ["sparse_probing", "scr"])
def test_too_few_rows_of_a_class_are_said(copied, eval_name):
    sizes = {"sparse_probing": {"probe_train_set_size": 40_000}, "scr_and_tpp": {"train_set_size": 40_000}}
    settings = sharing(configuration(**sizes), "pythia-demo")
    facts = read_facts(RESULTS / "pythia-demo/model.json")
    bench = Bench("pythia-demo", settings.placeholder_evals(), "float32", 4096)
    model = hooked_transformer(facts, "float32", True)
    with pytest.raises(InputError) as error:
        share(eval_name, bench, facts, model, Path("shared").absolute(), RESULTS / "saebench/data", "cpu", 1)
    assert str(error.value).startswith(f"pythia-demo: {eval_name}: ")
    assert "the evaluation data has too few rows of a class for the set sizes asked for" in str(error.value)
