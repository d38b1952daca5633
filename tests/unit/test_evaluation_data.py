"""SAEBench's data sets: what its own readers read of ours is what they read of the full sets, and of the stand-ins."""

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from conftest import CHECKED, unchecked
from hub_content import CORE, write_full_sets
from maskedsae.experiment.checks import check
from maskedsae.experiment.settings import saebench_texts
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.typed import plain, read
from maskedsae.scores.saebench import fetching
from maskedsae.scores.saebench.datasets import Folder, write_parquet
from maskedsae.scores.saebench.rows import AMAZON, BIOS, CODE, EUROPARL, GROUPS, LANGUAGE_PAIRS, NEWS, Needs
from maskedsae.scores.saebench.settings import Texts
from maskedsae.world import evaluations
from maskedsae.world.evaluations import write_stand_ins
from maskedsae.world.text import LONGEST, ood_prompts, write_corpus

ROOT = Path(__file__).parents[2]
HELPER = ROOT / "tests" / "saebench_readers.py"
NO_PAIRS = {"scr_and_tpp": {"dataset_names": [], "class_pairs": {}, "train_set_size": 4, "test_set_size": 4}}


@pytest.fixture(scope="module")
def settings() -> dict:
    """The paper's, with small sets."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    saebench = config["saebench"]
    saebench["sparse_probing"] |= {"probe_train_set_size": 80, "probe_test_set_size": 24}
    saebench["scr_and_tpp"] |= {"train_set_size": 64, "test_set_size": 32}
    saebench["core"] |= {"n_eval_reconstruction_batches": 1, "n_eval_sparsity_variance_batches": 1}
    return plain(saebench_texts(check(config)))


def run(job: str, settings: object, *paths: Path, cwd: Path, home: Path) -> list[str]:
    """The lines that it says."""
    (home / "settings.json").write_text(json.dumps(settings))
    environment = os.environ | {
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT / "scripts"),
    }
    command = [sys.executable, str(HELPER), job, str(home / "settings.json"), *map(str, paths)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def errors(every: list[dict], cwd: Path, tmp_path: Path) -> list[str]:
    lines = run("fetch", every, tmp_path / "target", cwd=cwd, home=tmp_path)
    return [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("full")
    write_full_sets(root)
    return root


@pytest.fixture(scope="module")
def fetched(full, settings, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("fetched")
    run("fetch", [settings], target, cwd=full, home=tmp_path_factory.mktemp("home"))
    return target


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("world") / "corpus.jsonl"
    write_corpus(path, 7_000_000, 0)
    return path


@pytest.fixture(scope="module")
def stand_ins(settings, corpus, tmp_path_factory) -> Folder:
    sets = Folder(tmp_path_factory.mktemp("stand_ins"))
    write_stand_ins(sets, Needs(read(Texts, settings)), corpus, 0)
    return sets


@pytest.fixture(scope="module")
def readings(full, fetched, stand_ins, settings, tmp_path_factory) -> list[dict]:
    """{eval, set and split: {class: texts}} of each, by SAEBench's own readers."""
    home = tmp_path_factory.mktemp("home")
    folders = [full, fetched, stand_ins.root]
    run("read", settings, home / "read.json", *folders, cwd=home, home=home)
    return json.loads((home / "read.json").read_text())


def test_fetched_sets_are_read_as_the_full_ones(readings):
    of_full, of_fetched, _ = readings
    assert len(of_full) == 2 * (8 + 2 + 8) + 1
    assert of_full == of_fetched  # the same texts of the same classes in the same order
    assert [text[:8] for text in of_full["core"]["text"]] != ["shard 0 "] * 40  # its shards are shuffled


def test_no_other_text_is_kept(full, fetched, readings):
    sets = json.loads((fetched / "manifest.json").read_text())["sets"]
    are_read = {text for classes in readings[1].values() for texts in classes.values() for text in texts}
    for name, column in ((BIOS, "hard_text"), (AMAZON, "text"), (NEWS, "text")):
        for split in ("train", "test"):
            kept = pd.read_parquet(fetched / name / f"{split}.parquet")
            original = pd.read_parquet(next((full / name).rglob(f"{split}-*")))
            with_text = kept[kept[column] != ""]
            assert set(with_text[column]) <= are_read
            assert len(with_text) == sum(sets[name]["rows"][split].values()) < len(kept) / 2
            assert len(kept) == len(original) == len(with_text) + sets[name]["rows_without_text"][split]
    assert sets[EUROPARL]["rows"]["train"] == dict.fromkeys(LANGUAGE_PAIRS.values(), 53)
    assert set(sets[CODE]["rows"]["train"]) == {"C", "Python", "HTML", "Java", "PHP"}
    assert all(facts["folder"] == str(full / name) for name, facts in sets.items())


def test_too_few_rows_are_one_clear_line(full, settings, tmp_path):
    def only(name: str, **core) -> dict:
        names = [name] if name in (NEWS, EUROPARL, CODE) else []
        probing = {"dataset_names": names, "probe_train_set_size": 700, "probe_test_set_size": 24}
        return settings | NO_PAIRS | {"sparse_probing": probing, "core": settings["core"] | core}

    of_bios, of_news, of_europarl, of_code, of_core = errors(
        [
            settings | {"scr_and_tpp": settings["scr_and_tpp"] | {"train_set_size": 700}},
            *map(only, (NEWS, EUROPARL, CODE)),
            only(CORE, n_eval_sparsity_variance_batches=100),
        ],
        full,
        tmp_path,
    )
    assert re.fullmatch(
        rf"saebench.data: {BIOS}: \d+ rows of profession 0, gender 1 in train, SAEBench needs 175: lower the set sizes "
        "of saebench.sparse_probing and saebench.scr_and_tpp",
        of_bios,
    )
    assert re.search(rf"{NEWS}: \d+ rows of label 0 in train, SAEBench needs 350: lower the set sizes", of_news)
    assert f"{EUROPARL}: rows are 300 of de-en, 300 of en-fr, " in of_europarl
    assert "300 of nl-pt, SAEBench needs 362 of each: lower the set sizes" in of_europarl
    assert re.search(rf"{CODE}: rows are \d+ of C, .* needs 362 of each, over 534 characters long: lower", of_code)
    assert re.fullmatch(
        rf"saebench.core.dataset: {CORE} has 1\d\d,\d+ characters; for 206,848 tokens core should have 1,241,088: "
        "lower n_eval_reconstruction_batches and n_eval_sparsity_variance_batches",
        of_core,
    )


def test_what_cannot_be_fetched_is_one_clear_line(settings, tmp_path):
    unknown = settings | {"data": {"source": "hub", "revisions": [{"dataset": "ag_news", "revision": "abc"}]}}
    offline, misspelt = errors([settings, unknown], tmp_path, tmp_path)
    assert offline.startswith(f"saebench.data: {BIOS} is not on this machine, and HF_HUB_OFFLINE forbids fetching it: ")
    assert "saebench.data.revisions: ag_news is not one of the data sets to fetch: LabHC/bias_in_bios" in misspelt


def test_interrupted_fetching_goes_on(full, settings, tmp_path):
    partly, target = tmp_path / "partly", tmp_path / "target"
    shutil.copytree(full, partly)
    shutil.rmtree(partly / NEWS)
    [line] = errors([settings], partly, tmp_path)
    assert f"{NEWS} is not on this machine" in line
    assert not (target / NEWS).exists() and not (target / "manifest.json").exists()
    shutil.copytree(full / NEWS, partly / NEWS)
    shutil.rmtree(partly / BIOS)  # which is here already
    write_parquet(target / AMAZON / "test.parquet", {"text": ["altered"]})
    lines = run("fetch", [settings], target, cwd=partly, home=tmp_path)
    assert f"{BIOS}: exists already" in lines
    assert f"{AMAZON}: fetching from the folder {partly / AMAZON}" in lines
    assert set(json.loads((target / "manifest.json").read_text())["sets"]) == {BIOS, AMAZON, NEWS, CODE, EUROPARL, CORE}


def test_the_lease_is_checked_before_the_manifest(fetched, settings, corpus, tmp_path, writes):
    shutil.copytree(fetched, tmp_path / "fetched")
    fetching.write_data(tmp_path / "fetched/manifest.json", read(Texts, settings))
    evaluations.write_data(tmp_path / "stand-ins/manifest.json", read(Texts, settings), str(corpus))
    manifests = [event for event in writes if event == CHECKED or event.name == "manifest.json"]
    assert len(manifests) == 4 and unchecked(manifests) == []


def test_a_half_written_set_is_never_taken_for_whole(tmp_path):
    def write(folder: Path) -> dict:
        write_parquet(folder / "train.parquet", {"text": ["a"]})
        return {"rows": {"train": {"text": 1}}}

    def write_half(folder: Path) -> dict:
        write(folder)
        os.kill(os.getpid(), signal.SIGKILL)

    Folder(tmp_path).add("owner/name", {"seed": 1}, write)
    child = os.fork()
    if child == 0:
        Folder(tmp_path).add("owner/name", {"seed": 2}, write_half)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert not (tmp_path / "owner" / "name").exists() and not list(tmp_path.rglob("*.json"))
    sets = Folder(tmp_path)
    sets.add("owner/name", {"seed": 2}, write)
    assert [path.name for path in (tmp_path / "owner" / "name").iterdir()] == ["train.parquet"]
    assert set(sets.records["owner/name"]["files"]) == {"train.parquet"}
    assert not list((tmp_path / "records").glob("owner_name"))


def test_stand_ins_are_read_by_every_eval(readings, settings):
    _, _, found = readings
    for name, classes in found.items():
        for texts in classes.values():
            assert len(texts) == len(set(texts)), name
            assert all(text.strip() for text in texts)
    probing = {name: classes for name, classes in found.items() if name.startswith("probing")}
    assert len(probing) == 16
    for name, classes in probing.items():
        assert {len(texts) for texts in classes.values()} == {40 if name.endswith("train") else 12}
        between = [text for texts in classes.values() for text in texts]
        assert len(between) == len(set(between)), name  # no text has two labels
    for name, both in probing.items():
        if name.endswith("train"):
            other = probing[name.removesuffix("train") + "test"]
            for class_, texts in both.items():
                assert not set(texts) & set(other[class_])


def test_stand_ins_are_what_they_are_said_to_be(stand_ins, corpus):
    root, seen, ood = stand_ins.root, {json.loads(line)["text"] for line in corpus.open()}, ood_prompts()
    for name, column in ((BIOS, "hard_text"), (AMAZON, "text"), (NEWS, "text"), (CORE, "text")):
        texts = pd.concat([pd.read_parquet(path) for path in (root / name).glob("*.parquet")])[column]
        assert not set(texts) & ood
        trained_on = stand_ins.records[name]["rows_in_the_language_models_corpus"]
        if name != BIOS:  # its texts are ends of prompts
            assert trained_on == {} and not {text[:LONGEST] for text in texts} & seen
        else:
            assert set(trained_on) <= {"athlete, gender 1", "politician, gender 1"} and sum(trained_on.values()) < 20
    code = pd.read_parquet(root / CODE / "rows.parquet")
    assert (code[code["language"] == "PHP"]["code"].str.contains(r"\$")).all()
    bios = pd.read_parquet(root / BIOS / "train.parquet")
    assert bios["hard_text"].str.len().between(20, 130).all()


def test_stand_ins_are_the_same_bytes_again(stand_ins, settings, corpus, tmp_path):
    again, other = Folder(tmp_path / "again"), Folder(tmp_path / "other")
    write_stand_ins(again, Needs(read(Texts, settings)), corpus, 0)
    assert again.records == stand_ins.records
    write_stand_ins(other, Needs(read(Texts, settings)), None, 1)
    assert all(other.records[name]["files"] != facts["files"] for name, facts in again.records.items())


def test_too_few_texts_for_a_stand_in(settings, tmp_path):
    large = settings | {"scr_and_tpp": settings["scr_and_tpp"] | {"train_set_size": 400}}
    with pytest.raises(
        InputError, match=r"politician, gender 1: sae-probes has \d+ such texts, the stand-ins need 108"
    ):
        write_stand_ins(Folder(tmp_path), Needs(read(Texts, large)), None, 0)
    pairs = {"LabHC/bias_in_bios_class_set1": [["dj", "nurse"]]}
    other = settings | {
        "scr_and_tpp": settings["scr_and_tpp"] | {"class_pairs": settings["scr_and_tpp"]["class_pairs"] | pairs}
    }
    with pytest.raises(InputError, match="class_pairs: nothing stands in for profession 8: known are 0, 1, 2, 6"):
        write_stand_ins(Folder(tmp_path), Needs(read(Texts, other)), None, 0)


def test_constants_are_saebench_s_own():
    """Read off its sources: importing them takes 15 seconds."""
    scr, core = (
        Path(importlib.util.find_spec(f"sae_bench.evals.{module}").origin).read_text()
        for module in ("scr_and_tpp.main", "core.main")
    )
    [lookup] = [
        node.value
        for node in ast.parse(scr).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "COLUMN2_VALS_LOOKUP"
    ]
    assert {name.split("_class_set")[0]: groups for name, groups in ast.literal_eval(lookup).items()} == GROUPS
    assert "activation_store.shuffle_input_dataset(seed=42)" in core
