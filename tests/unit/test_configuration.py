"""A wrong configuration is refused in one line that names the key and says what to do."""

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from maskedsae.experiment.checks import check, check_files
from maskedsae.experiment.configuration import Configuration
from maskedsae.experiment.grid import OUR_SCORES, all_cells, score_names, source_files, training_jobs
from maskedsae.experiment.outputs import page_inputs, steps
from maskedsae.experiment.schema import SCHEMA
from maskedsae.jobs.errors import InputError

CONFIG = Path(__file__).parents[2] / "config.yaml"
DEMO = Path(__file__).parents[2] / "profiles/demo/demo.yaml"
PAPER = yaml.safe_load(CONFIG.read_text())
MATRYOSHKA = "trainer_settings.matryoshka_batch_topk"

OF_A_CELL = {"stream": "clean", "trainer": "matryoshka_batch_topk", "l0": 20, "seed": 0, "threshold_for_l0": 25}


def sae(**changes) -> list[dict]:
    """One entry of `saes`."""
    return [{"name": "x", "model": "pythia-160m-deduped", "from": {"baseline": {"kind": "raw"}}} | changes]


def of_cell(**changes) -> list[dict]:
    return sae(**{"from": {"cell": OF_A_CELL | changes}})


def baseline(**given) -> list[dict]:
    return sae(**{"from": {"baseline": given}})


# (key, value that it is given, what the line says). A key may go through lists: models.0.layer.
WRONG = [
    ("trainning", {}, "trainning: unknown key: did you mean training?"),
    ("training.btach", 1, "training.btach: unknown key: did you mean batch?"),
    ("models.1.layr", 12, "models[1].layr: unknown key: did you mean layer?"),
    ("corpus.zzz", 1, "corpus.zzz: unknown key: known keys here: dataset, "),
    ("corpus.filter.equal", "x", "corpus.filter.equal: unknown key: did you mean equals?"),
    (
        "trainers",
        ["matroshka_batch_topk"],
        "trainers: matroshka_batch_topk is not one of matryoshka_batch_topk, batch_topk, topk, jumprelu, standard, "
        "gated, p_anneal, masked_penalty, adaptive_gate (did you mean",
    ),
    ("trainer_settings.mine", {"lr": 1}, "trainer_settings.mine.kind: missing: it is one of matryoshka_batch_topk, "),
    ("trainer_settings.mine", {"kind": "topc"}, 'mine.kind: "topc" is not one of matryoshka_batch_topk, batch_topk, '),
    ("trainer_settings.a/b", {"kind": "topk"}, 'trainer_settings: "a/b" is not a name that can stand in a path'),
    ("trainer_settings.batch_tokp", {}, "trainer_settings.batch_tokp.kind: missing: it is one of"),
    ("trainer_settings.mine", {"kind": "topk", "lrr": 1}, "trainer_settings.mine.lrr: unknown key: did you mean lr?"),
    (
        "trainer_settings.mine",
        {"kind": "topk", "lr": 0},
        "trainer_settings.mine.lr: 0 is out of range: it must be more",
    ),
    ("trainer_settings.mine", {"kind": "topk", "bandwidth": 1}, "trainer_settings.mine.bandwidth: unknown key"),
    ("trainer_settings.topk.kind", "jumprelu", "topk.kind: topk is a kind itself: give an entry of another kind"),
    ("trainer_settings.topk.dict_size", 0, "trainer_settings.topk.dict_size: 0 is out of range: it must be at least 1"),
    (f"{MATRYOSHKA}.dict_size", 100, f"l0: 160 is larger than the dictionary ({MATRYOSHKA}.dict_size 100)"),
    ("trainer_sets", [["topk"], ["topk"]], "trainer_sets: topk is given twice: a trainer is in one set only"),
    ("trainer_sets", [["mine"]], "trainer_sets: mine is not one of trainer_settings (matryoshka_batch_topk, "),
    (
        "saes",
        sae(**{"from": {}}),
        "saes[0].from: nothing is given: give exactly one of dictionary_learning, saelens",
    ),
    ("saes", sae(**{"from": {"folder": "a", "baseline": {}}}), "saes[0].from: folder and baseline are given: give ex"),
    ("saes", sae(**{"from": {"foldr": "a"}}), "saes[0].from.foldr: unknown key: did you mean folder?"),
    ("saes", sae(model="gpt2"), "saes: x: model gpt2 is none of models (pythia-160m-deduped, gemma-2-2b)"),
    ("saes", sae(name="topk"), "saes: topk is a trainer's name, and scores.csv has both in one column: choose another"),
    ("saes", sae(name="a/b"), 'saes[0].name: "a/b" is not a name that can stand in a path'),
    ("saes", sae() + sae(), "saes: x is given twice: give each its own name"),
    ("saes", baseline(latents=2), "saes[0].from.baseline.kind: missing"),
    ("saes", baseline(kind="ica"), 'saes[0].from.baseline.kind: "ica" is not one of pca, random, raw'),
    ("saes", baseline(kind="raw", k=2), "saes: x: from.baseline: raw activations are kept whole: leave out latents"),
    ("saes", baseline(kind="pca", latents=63), "from.baseline.latents: 63 is odd, and each direction has both signs"),
    ("saes", baseline(kind="random", k=5000), "from.baseline.k: 5000 is larger than the number of latents (4096)"),
    ("saes", of_cell(stream="clear"), "saes: x: from.cell.stream: clear is none of streams (clean, mask20, mask30, "),
    (
        "saes",
        of_cell(trainer="batch_topk"),
        "from.cell.trainer: batch_topk is none of trainers (matryoshka_batch_to",
    ),
    ("saes", of_cell(l0=25), "from.cell.l0: 25 is none of l0 (20, 40, 80, 160)"),
    ("saes", of_cell(seed=3), "from.cell.seed: 3 is none of seeds (0)"),
    ("saes", of_cell(threshold_for_l0=0), "from.cell.threshold_for_l0: 0 is out of range: it must be more than 0"),
    ("seeds_per_stream", 0, "seeds_per_stream: 0 is out of range: it must be at least 1"),
    ("streams.1.corruption", {"kind": "mask", "p": 0.1}, "streams[1].p: given beside corruption, which has its own"),
    ("streams.0.corruption", {"p": 0.1}, "streams[0].corruption.kind: missing"),
    ("streams.0.corruption", {"kind": "masc", "p": 0.1}, "masc is not one of delete, mask, mask_words, replace ("),
    ("streams.0.corruption", {"kind": "mask"}, "streams[0].corruption.p: missing"),
    ("streams.0.corruption", {"kind": "mask", "p": "0.1"}, "streams[0].corruption.p: '0.1' is not float"),
    ("streams.0.corruption", {"kind": "mask", "p": 1.5}, "streams[0].corruption.p: 1.5 is out of range"),
    ("streams.0.context", "clear", 'streams[0].context: "clear" is not one of corrupted, clean'),
    ("streams.0.rows", "untouched", "streams: clean: context and rows say something about a corruption"),
    ("streams.1.p", 0, "streams: clean and mask20 are both without corruption, so they are one and the same: keep one"),
    ("streams.0.q", 0, "streams[0].q: unknown key: known keys here: name, p, corruption, context, rows"),
    ("streams.1.p", 1.2, "streams[1].p: 1.2 is out of range: it must be less than 1"),
    (
        "streams.1.p",
        1,
        "streams[1].p: 1 is out of range: it must be less than 1",
    ),  # nothing would be left to learn from
    ("streams.1.p", -0.1, "streams[1].p: -0.1 is out of range: it must be at least 0"),
    ("streams.1.p", float("nan"), "streams[1].p: NaN is not a number or null"),
    ("training.max_norm_multiple", 1, "training.max_norm_multiple: 1 is out of range: it must be more than 1"),
    ("seeds", [-1], "seeds[0]: -1 is out of range"),
    ("corpus.files", ["{x}.txt"], 'corpus.files: "{x}.txt" has a brace, which Snakemake fills in: rename it'),
    ("l0", 20, "l0: 20 is not a list"),
    ("l0", [], "l0: must not be empty"),
    ("l0", [20, 4097], "l0: 4097 is larger than the dictionary (training.dict_size 4096)"),
    ("l0", [20.0], "l0[0]: 20.0 is not a whole number: write 20"),
    ("run", 7, 'run: 7 is not text: write "7"'),
    ("run", "my/run", 'run: "my/run" is not a name that can stand in a path: letters, digits, dots and hyphens'),
    ("mask", "", "mask: must not be empty"),
    # What YAML makes of 3e-4 and 5.0e8.
    (f"{MATRYOSHKA}.lr", "3e-4", f'{MATRYOSHKA}.lr: "3e-4" is not a number: write 0.0003'),
    ("training.tokens", 5.0e8, "training.tokens: 500000000.0 is not a whole number: write 500000000"),
    ("training", None, "training: null is not a mapping"),
    ("training.tokens", 2047, "training.tokens: 2047 is less than one batch (2048)"),
    ("compute.device", "cuda:1", '"cuda:1" is not cuda or cpu (one of several GPUs: set CUDA_VISIBLE_DEVICES)'),
    ("compute.device", "cpu", "training.autocast: bfloat16 needs a GPU: set it to float32"),
    ("models.1.tf32", True, "models: gemma-2-2b: tf32: is for dtype float32, and this model's is bfloat16: set it to"),
    ("models.0.tf32", "yes", 'models[0].tf32: "yes" is not true or false'),
    ("models.0.path", "models/pythia", "models: pythia-160m-deduped: give exactly one of hub and path"),
    ("models.0.hub", None, "models: pythia-160m-deduped: give exactly one of hub and path"),
    ("corpus.files", ["a.txt"], "corpus: give exactly one of dataset and files"),
    ("corpus.dataset", None, "corpus: give exactly one of dataset and files"),
    ("models.1.name", "pythia-160m-deduped", "models: pythia-160m-deduped is given twice: give each its own name"),
    ("streams.1.name", "clean", "streams: clean is given twice: give each its own name"),
    ("tables.1.name", "table1", "tables: table1 is given twice: give each its own name"),
    ("l0", [20, 40, 20], "l0: 20 is given twice: keep one"),
    ("seeds", [0, 0], "seeds: 0 is given twice: keep one"),
    ("trainers", ["topk", "topk"], "trainers: topk is given twice: keep one"),
    ("l0_sets", [[20, 40], [40]], "l0_sets: 40 is given twice: an l0 is trained in one set only"),
    ("models.0.name", "tables", "models: tables is a name that results/ uses itself: choose another"),
    ("streams.0.name", "tokens", "streams: tokens is a name that results/ uses itself: choose another"),
    ("trainer_settings.imported", {"kind": "topk"}, "trainer_settings: imported is a name that results/ uses itself"),
    ("tables.0.model", "gpt2", "tables: table1: model gpt2 is none of models (pythia-160m-deduped, gemma-2-2b)"),
    ("tables.0.streams", ["mask40"], "tables: table1: stream mask40 is none of streams (clean, "),
    ("tables.2.l0", [30], "tables: table3: l0 30 is none of l0 (20, 40, 80, 160)"),
    ("robustness.rowz", 1, "robustness.rowz: unknown key: did you mean rows?"),
    ("robustness.contexts", 1, "robustness.contexts: 1 is out of range: it must be at least 2"),
    ("robustness.corruptions.0.p", 0, "robustness.corruptions[0].p: 0 is out of range: it must be more than 0"),
    ("robustness.corruptions", [{"name": "a", "p": 0.1}], "robustness.corruptions[0].kind: missing"),
    (
        "robustness.corruptions.0.kind",
        "tipo",
        "robustness.corruptions: typo: tipo is not one of cut, delete, mask, mask_words, random, replace, typo "
        "(did you mean typo?)",
    ),
    ("robustness.corruptions.1.name", "typo", "robustness.corruptions: typo is given twice: give each its own name"),
    ("robustness.corruptions.1.name", "own", "robustness.corruptions: own is a name that robustness.json uses itself"),
    ("robustness.parents", ["digits"], "robustness.parents[0]: "),
    ("robustness.parents", ["digit", "digit"], "robustness.parents: digit is given twice: keep one"),
    ("streams.0.name", "robustness", "streams: robustness is a name that results/ uses itself: choose another"),
    ("ood.max_iters", 1, "ood.max_iters: unknown key: did you mean max_iter?"),
    ("ood.k", 100, "ood.k: 100 is none of ood.ks (1, 2, 4, 8, 16, 32, 64, 128)"),
    ("ood.ks", [128, 8192], "ood.ks: 8192 is larger than the dictionary (training.dict_size 4096)"),
    ("ood.ks", [128, 128], "ood.ks: 128 is given twice: keep one"),
    ("report.explained_variance", "best", "is not one of legacy, saebench, centred"),
    ("report.n", 30, "report.n: 30 is not one of 2, 5, 10, 20, 50, 100, 500"),
    ("report.convergence", ["topk"], "report.convergence: compares two trainers: name two, or none"),
    ("report.convergence", ["topk", "topk"], "report.convergence: topk is given twice: name two different ones"),
    (
        "report.convergence",
        ["matryoshka_batch_topk", "topk"],
        "report.convergence: topk is none of trainers (matryoshka_batch_topk)",
    ),
    ("audit.dormant_below", 2e-4, "audit.dormant_below: 0.0002 is not one of 5e-05, 0.0001"),
    ("audit.converged_at", 0.9, "audit.converged_at: 0.9 is out of range: it must be at most 0.8"),
    ("report.k", 10, "report.k: 10 is none of saebench.sparse_probing.k_values (1, 2, 5)"),
    ("saebench.scr_and_tpp.n_values", [2, 5], "report.n: 20 is none of saebench.scr_and_tpp.n_values (2, 5)"),
    ("ood.train_rows", 1500, "ood.train_rows: 1500 leaves no other row of ood.rows (1500)"),
    ("ood.validation_rows", 1024, "ood.validation_rows: 1024 leaves no other row of ood.train_rows (1024)"),
    ("ood.train_rows", 1023, "ood.train_rows: 1023 is not a multiple of 2"),
    ("saebench.evals", ["core", "tpq"], 'saebench.evals[1]: "tpq" is not one of absorption, core, sparse_probing, tpp'),
    (
        "saebench.evals",
        [],
        "and saebench.evals lacks absorption, core, sparse_probing, tpp, scr: add what is lacking there, or set tables",
    ),
    (
        "saebench.evals",
        ["core", "absorption", "core", "sparse_probing", "tpp", "scr"],
        "saebench.evals: core is given twice: keep one",
    ),
    (
        "saebench.evals",
        ["absorption", "core", "sparse_probing"],
        "tables: they show all of SAEBench's scores, and saebench.evals lacks tpp, scr: add what is lacking there, or "
        "set tables to []",
    ),
    ("saebench.absorbtion", {}, "saebench.absorbtion: unknown key: did you mean absorption?"),
    (
        "saebench.scr_and_tpp.n_values",
        [2, 30],
        "saebench.scr_and_tpp.n_values: SAEBench knows no 30, only 2, 5, 10, 20, 50, 100, 500",
    ),
    (
        "saebench.sparse_probing.k_values",
        [1, 3],
        "saebench.sparse_probing.k_values: SAEBench knows no 3, only 1, 2, 5, 10, 20, 50, 100",
    ),
    ("training.dict_size", 256, "saebench.scr_and_tpp.n_values: 500 is larger than the dictionary"),
    ("saebench.scr_and_tpp.train_set_size", 4001, "saebench.scr_and_tpp.train_set_size: 4001 is not a multiple of 4"),
    (
        "saebench.scr_and_tpp.dataset_names",
        ["news"],
        "saebench.scr_and_tpp.dataset_names: SAEBench knows no news, only",
    ),
    (
        "saebench.absorption.prompt_template",
        "Spell it:",
        "saebench.absorption.prompt_template: {word} is missing in it",
    ),
    ("models.0.name", "saebench", "models: saebench is a name that results/ uses itself: choose another"),
    ("streams.0.name", "ood", "streams: ood is a name that results/ uses itself: choose another"),
    (f"{MATRYOSHKA}.group_fractions", [0.5, 0.25], f"{MATRYOSHKA}.group_fractions: sum to 0.75, not to 1"),
    (f"{MATRYOSHKA}.group_fractions", [0.9999, 0.0001], "group_fractions: 0.0001 of 4096 latents is none"),
    (f"{MATRYOSHKA}.threshold_start_step", 244_139, "threshold_start_step: 244139 is not reached in 244140 steps"),
    (f"{MATRYOSHKA}.warmup_steps", 195_312, "warmup_steps: 195312 steps reach beyond decay_start (195312 of 244140"),
    (
        "trainer_settings.standard.l1_penalty",
        {160: 0.01, "80": 0.02},
        "standard.l1_penalty: nothing is given for l0 20, 40: standard aims at no l0, so give a penalty for each one",
    ),
    ("trainer_settings.standard.l1_penalty", {"2.5": 0.1}, 'l1_penalty: "2.5" is not an l0: give a penalty for each'),
    ("trainer_settings.standard.l1_penalty", 0.1, "standard.l1_penalty: 0.1 is not a mapping"),
    ("trainer_settings.standard.l1_penalty", {20: -1}, "l1_penalty[20]: -1 is out of range: it must be more than 0"),
    ("trainer_settings.standard.resample_steps", 100, "standard.resample_steps: unknown key"),
    ("trainer_settings.p_anneal.anneal_start", 244_131, "p_anneal.anneal_start: 244131 leaves too few of 244140 steps"),
    (f"{MATRYOSHKA}.decay_start", 1, "decay_start: 1 leaves no step of 244140 to decay in"),
]


def paper_with(key: str, value: object) -> dict:
    config = deepcopy(PAPER)
    if found := re.match(r"trainer_settings\.(standard|p_anneal)", key):
        config["trainers"] = [found[1]]
    *path, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    place = config
    for part in path:
        place = place[part]
    place[last] = value
    return config


def refusal(config: dict) -> str:
    with pytest.raises(InputError) as caught:
        check(config)
    return str(caught.value)


def test_the_papers_configuration_passes():
    check(deepcopy(PAPER))


@pytest.mark.parametrize(("key", "value", "line"), WRONG)
def test_a_wrong_value_is_refused_in_one_line(key, value, line):
    message = refusal(paper_with(key, value))
    assert line in message
    assert "\n" not in message


def test_a_score_that_saebench_is_not_asked_for_can_only_be_judged_if_it_is_taken_out():
    """An overlay cannot remove a key of config.yaml, so null does."""
    config = paper_with("saebench.evals", ["core", "sparse_probing"]) | {"tables": []}
    line = "is a score of absorption, which saebench.evals does not ask for: add it there, or set"
    for name in ("absorption", "absorption_fraction"):
        assert refusal(deepcopy(config)) == f"configuration: analysis.endpoints: {name} {line} {name} to null here"
        config["analysis"]["endpoints"][name] = None
    config["analysis"]["endpoints"]["absorbtion"] = None
    assert "endpoints: absorbtion is not one of absorption, " in refusal(deepcopy(config))
    del config["analysis"]["endpoints"]["absorbtion"]
    assert list(check(config).analysis.endpoints)[:3] == ["explained_variance", "sparse_probing", "ood"]


def test_saebench_can_be_left_out():
    """For a language model that transformer-lens does not know."""
    config = paper_with("saebench.evals", []) | {"tables": []}
    config["analysis"]["endpoints"] |= dict.fromkeys(
        ("absorption", "absorption_fraction", "explained_variance", "sparse_probing")
    )
    checked = check(config)
    assert score_names(checked, checked.models[0]) == OUR_SCORES
    assert page_inputs(checked, all_cells(training_jobs(checked, needed=False)), ".")["scoring"] == []
    assert not [step.words for step in steps(checked, [], "{}.tsv".format) if "SAEBench" in step.words]


def test_more_latents_than_there_are_can_be_set_for_evals_that_do_not_run():
    config = paper_with("saebench.scr_and_tpp.n_values", [20, 500]) | {"tables": []}
    config["training"]["dict_size"] = 256
    assert "saebench.scr_and_tpp.n_values: 500 is larger than the dictionary" in refusal(deepcopy(config))
    config["saebench"]["evals"] = ["absorption", "core", "sparse_probing"]
    check(config)


def test_another_threshold_needs_a_trainer_that_has_thresholds():
    config = deepcopy(PAPER) | {"trainers": ["topk"], "saes": of_cell(trainer="topk")}
    line = "saes: x: from.cell.threshold_for_l0: a topk SAE has no threshold: name one of matryoshka_batch_topk, batch_"
    assert line in refusal(config)


def test_tf32_without_a_gpu_is_refused_in_one_line():
    config = deepcopy(PAPER)
    config["models"][0]["tf32"] = True
    assert check(config).model("pythia-160m-deduped").tf32
    config["compute"]["device"] = "cpu"
    with pytest.raises(InputError) as error:
        check(config)
    line = "models: pythia-160m-deduped: tf32: needs a GPU: set it to false, or compute.device to cuda"
    assert str(error.value) == f"configuration: {line}"


def test_a_missing_key_is_named():
    config = deepcopy(PAPER)
    del config["models"][0]["layer"]
    assert refusal(config) == "configuration: models[0].layer: missing: config.yaml shows its default"
    config = deepcopy(PAPER)
    del config["training"]["batch"]
    assert refusal(config) == "configuration: training.batch: missing: config.yaml shows its default"


def test_entries_of_lists_have_defaults_which_stand_in_the_configuration_afterwards():
    config = deepcopy(PAPER)
    config["models"] = [{"name": "mine", "path": "models/x", "layer": 3}]
    config["tables"] = [{"name": "table1", "model": "mine", "streams": ["clean", "mask30"]}]
    checked = check(config)
    assert config["models"][0]["dtype"] == checked.models[0].dtype == "float32"
    assert config["models"][0]["hub"] is checked.models[0].hub is None
    assert config["tables"][0]["l0"] is checked.tables[0].l0 is None
    assert config["streams"][1]["rows"] == checked.streams[1].rows == "all"


def test_what_was_filled_in_is_a_configuration_too():
    """As Snakemake hands it to each job, which checks it once more."""
    config = deepcopy(PAPER)
    once = check(config)
    assert check(config) == once
    assert isinstance(once, Configuration)


def test_a_trainer_entry_has_its_kinds_settings_but_for_its_own():
    config = deepcopy(PAPER)
    config["trainer_settings"]["matryoshka-16k"] = {"kind": "matryoshka_batch_topk", "dict_size": 16384, "lr": 1e-4}
    entry = check(config | {"trainers": ["matryoshka-16k"]}).trainer_settings["matryoshka-16k"]
    kinds_own = PAPER["trainer_settings"]["matryoshka_batch_topk"]
    assert (entry.name, entry.kind, entry.dict_size) == ("matryoshka-16k", "matryoshka_batch_topk", 16384)
    assert entry.settings == kinds_own | {"lr": 1e-4}
    assert check(deepcopy(PAPER)).trainer_settings["topk"].dict_size == 4096


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"corpus": PAPER["corpus"] | {"dataset": None, "files": ["gone.txt"]}},
            "corpus.files: gone.txt is not here (",
        ),
        (
            {"models": [{"name": "m", "path": "models/gone", "layer": 1}], "tables": []},
            "models: m: path: models/gone is",
        ),
        ({"saes": sae(**{"from": {"folder": "saes/gone"}})}, "saes: x: from.folder: saes/gone is not here"),
    ],
)
def test_a_file_that_is_not_there_is_named_even_where_results_stand(change, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        check_files(check(deepcopy(PAPER) | deepcopy(change)))
    assert line in str(error.value) and "restore it, or correct its name" in str(error.value)


def test_what_the_workflow_makes_itself_need_not_be_there():
    config = deepcopy(PAPER) | {"run": "mine", "models": [{"name": "m", "path": "results/mine/world/x", "layer": 1}]}
    config |= {
        "tables": [],
        "corpus": PAPER["corpus"] | {"dataset": None, "files": ["results/mine/world/corpus.jsonl"]},
        "saes": sae(model="m", **{"from": {"folder": "results/mine/m/clean/matryoshka_batch_topk/l0_20/seed_0/sae"}}),
    }
    check_files(check(config))
    config["saes"][0]["from"] = {"folder": "results/mine/m/clean/topk/l0_20/seed_0/sae"}  # no cell of the grid
    with pytest.raises(
        InputError, match=r"^configuration: saes: x: from.folder: results/mine/m/clean/topk/.* not here"
    ):
        check_files(check(config))


def test_an_sae_that_stands_in_results_and_is_no_cells_has_the_files_of_its_own_format(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = check(deepcopy(PAPER) | {"saes": sae(**{"from": {"folder": "results/paper/downloads/"}})})
    files = ["results/paper/downloads/ae.pt", "results/paper/downloads/config.json"]
    for file in files:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    assert source_files(config, "x") == files


def test_a_misspelt_key_is_named_rather_than_the_one_that_is_missing_for_it():
    config = deepcopy(PAPER)
    config["models"][0]["layr"] = config["models"][0].pop("layer")
    assert refusal(config) == "configuration: models[0].layr: unknown key: did you mean layer?"


def test_a_trainer_that_is_not_used_may_have_settings_that_do_not_fit():
    """A short run need not restate the schedules of all trainers."""
    check(paper_with("trainer_settings.topk.warmup_steps", 10**9))


def keys_of(value: object, prefix: str = "") -> set[str]:
    if isinstance(value, dict):
        return {prefix, *(key for name, inner in value.items() for key in keys_of(inner, f"{prefix}.{name}"))}
    if isinstance(value, list):
        return {prefix, *(key for inner in value for key in keys_of(inner, f"{prefix}[]"))}
    return {prefix}


def keys_of_schema(schema: dict, top: dict, prefix: str = "") -> Iterator[str]:
    if "$ref" in schema:
        schema = top["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    yield prefix
    for name, inner in schema.get("properties", {}).items():
        yield from keys_of_schema(inner, top, f"{prefix}.{name}")
    if "items" in schema:
        yield from keys_of_schema(schema["items"], top, f"{prefix}[]")


def test_language_models_of_ones_own_are_not_called_paper():
    """scores.csv tells demos apart by their run's name."""
    config = deepcopy(PAPER) | {"world": yaml.safe_load(DEMO.read_text())["world"]}
    with pytest.raises(InputError, match="run: paper is not for language models that `world` makes: choose another"):
        check(config)
    check(config | {"run": "mine"})


def test_the_schema_and_the_papers_configuration_have_the_same_keys():
    schema = yaml.safe_load(SCHEMA.read_text())
    config = keys_of({key: value for key, value in PAPER.items() if key != "world"})
    # Lists that are null in the paper's configuration, settings that are for overlays alone, and what has a default.
    empty = (".world", ".publish.", ".corpus.files[]", ".saebench.data.revisions[]", ".streams[]", ".trainer_sets[]")
    empty += (".saes[]", ".report.convergence[]")
    empty += tuple(f".analysis.{key}[]" for key in ("arms", "models", "l0", "baseline_l0"))
    named_by_checks = (".streams[]", ".analysis.endpoints.")  # and not by the schema
    l0s = re.compile(r".*_penalty\.\d+")
    described = {key for key in keys_of_schema(schema, schema) if not key.startswith(empty)}
    described -= {key for key in described if key.startswith(".models[].planted.")}
    described -= {key for key in described if key.endswith((".kind", ".dict_size")) and key.startswith(".trainer_")}
    assert {key for key in config if not key.startswith(named_by_checks) and not l0s.match(key)} == described


def test_every_mapping_of_the_schema_refuses_unknown_keys_and_requires_the_known_or_has_a_default():
    def mappings(value: object) -> Iterator[dict]:
        if isinstance(value, dict):
            if isinstance(value.get("properties"), dict):
                yield value
            for inner in value.values():
                yield from mappings(inner)

    schema = yaml.safe_load(SCHEMA.read_text())
    # Their other keys are checked elsewhere: by the class of a corruption, by the kind of a trainer.
    open_ended = [schema["properties"]["streams"]["items"]["properties"]["corruption"]]
    open_ended.append(schema["properties"]["trainer_settings"])
    for mapping in mappings(schema):
        if mapping in open_ended:
            continue
        assert mapping["additionalProperties"] is False
        left_open = {name for name, inner in mapping["properties"].items() if "default" in inner}
        left_open |= {"kind", "dict_size"} & set(mapping["properties"])
        assert set(mapping["required"]) == set(mapping["properties"]) - left_open | {"dict_size"} & set(
            mapping["required"]
        )


def test_the_kinds_of_trainers_in_the_schema_are_those_that_there_are():
    from maskedsae.saes.trainers.base import known_kinds

    schema = yaml.safe_load(SCHEMA.read_text())
    assert sorted(schema["properties"]["trainer_settings"]["properties"]) == known_kinds()


def unexplained(text: str) -> list[str]:
    """Keys of a YAML text that no comment is about: none behind them or right above, none that names them above the
    section that they are in, and their section is not said to be like another one."""
    found, above, block = [], [], ""
    for line in text.splitlines():
        if line.strip().startswith("#"):
            block += line
            continue
        for indent, key, comment in re.findall(r"^( *(?:- )?)([\w.-]+):(?: [^#]*)?(#.*)?$", line):
            depth = len(indent)
            above = [(level, words) for level, words in above if level < depth]
            own = block + comment
            words = "".join(words for _, words in above)
            if not own and not re.search(rf"\b{key}\b|as above|every value", words):
                found.append(key)
            above.append((depth, own))
        block = ""
    return found


def test_every_key_is_explained_where_it_stands():
    """config.yaml is the one place where keys are explained; the schema has no words of its own for them."""
    text = CONFIG.read_text()
    assert unexplained(text) == []
    assert unexplained(text.replace("# latents [paper]", "")) == ["dict_size"]


def test_keys_that_may_be_left_out_are_explained_too():
    schema, comments = yaml.safe_load(SCHEMA.read_text()), "".join(re.findall(r"#.*", CONFIG.read_text()))
    for section in ("models", "streams", "tables"):
        for key in schema["properties"][section]["items"]["properties"]:
            assert key == "name" or re.search(rf"\b{key}\b", comments), f"{section}: {key}"
    planted = schema["properties"]["models"]["items"]["properties"]["planted"]
    for key in {part for name in keys_of_schema(planted, schema) for part in name.split(".")[1:]}:
        assert re.search(rf"\b{key}\b", comments), f"planted: {key}"


def test_every_part_of_the_papers_configuration_says_where_its_values_come_from():
    parts = CONFIG.read_text().split("\n\n")
    unsaid = [part for part in parts if not re.search(r"\[(all )?(paper|recipe|ours)", part)]
    # Names and nothings, whose comments say what they are.
    assert [yaml.safe_load(part) for part in unsaid] == [{"run": "paper"}, {"world": None}]


ARMS = [
    {"name": "budget30", "p": 0.3, "context": "clean"},
    {"name": "delete30", "corruption": {"kind": "delete", "p": 0.3}, "rows": "untouched"},
]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"arms": ["mask31"]}, "arms: mask31 is none of streams (clean, mask20, mask30, mask50, budget30, delete30)"),
        ({"arms": ["mask30", "mask30"]}, "arms: mask30 is given twice: keep one"),
        ({"arms": ["clean"]}, "arms: clean is the baseline, which they are compared with: take it out"),
        (
            {"arms": ["mask30", "delete30"]},
            "arms: delete30 takes a stream apart that is not among them: add the one with the same corruption, "
            "context: corrupted and rows: all",
        ),
        ({"models": ["gpt"]}, "models: gpt is none of models (pythia-160m-deduped, gemma-2-2b)"),
        ({"l0": [21]}, "l0: 21 is none of l0 (20, 40, 80, 160)"),
        ({"baseline_l0": [40]}, "baseline_l0: 40 is in l0 already: take it out here"),
        (
            {"control": "top"},
            "control: top is none of trainer_settings (matryoshka_batch_topk, batch_topk, topk, jumprelu, standard, "
            "gated, p_anneal, masked_penalty, adaptive_gate)",
        ),
        ({"assay": ["topk", "topk"]}, "assay: topk is given twice: keep one"),
        ({"least_seeds": 1}, "least_seeds: 1 is out of range: it must be at least 2"),
    ],
)
def test_an_analysis_that_cannot_be_made_is_refused_in_one_line(changes, line):
    config = deepcopy(PAPER)
    config["streams"] += ARMS
    config["analysis"] |= changes
    assert refusal(config) == f"configuration: analysis.{line}"


def test_arms_need_a_baseline():
    config = deepcopy(PAPER) | {"streams": [{"name": "mask30", "p": 0.3}], "tables": []}
    config["analysis"]["arms"] = ["mask30"]
    line = "analysis.arms: no stream is without corruption, so there is nothing to compare them with"
    assert refusal(config) == f"configuration: {line}"
