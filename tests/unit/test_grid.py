"""The grid that a configuration spells out, and that growing it leaves the finished jobs as they are."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from maskedsae.experiment import checks, settings
from maskedsae.experiment.configuration import Configuration
from maskedsae.experiment.grid import (
    TrainingJob,
    all_cells,
    mechanisms,
    oracles,
    sae_files,
    score_files,
    training_jobs,
)
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.params import settings_of, spelled_out
from maskedsae.saes.cells import Cell, joint_name
from maskedsae.saes.settings import Trainer, TrainJobSettings

RAW = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
PYTHIA, GEMMA, TRAINER = "pythia-160m-deduped", "gemma-2-2b", "matryoshka_batch_topk"
ALL = (20, 40, 80, 160)


def paper_with(**changes) -> Configuration:
    return checks.check(deepcopy(RAW) | deepcopy(changes))


PAPER = paper_with()


def jobs(config: Configuration) -> list[TrainingJob]:
    return training_jobs(config, needed=True) + training_jobs(config, needed=False)


def l0s_of(job: TrainingJob) -> tuple[int, ...]:
    return tuple(dict.fromkeys(cell.l0 for cell in job.cells))


# The cell.


def test_a_cells_folder_says_which_it_is_and_is_read_back_from_any_of_its_files():
    cell = Cell("paper", GEMMA, "mask30", TRAINER, 20, 1)
    assert cell.folder == Path(f"results/paper/{GEMMA}/mask30/{TRAINER}/l0_20/seed_1")
    assert cell.name == f"{GEMMA}_mask30_{TRAINER}_l0_20_seed_1"
    for path in (cell.folder, cell.folder / "sae" / "ae.pt", Path("/some/where") / cell.folder / "training.csv"):
        assert Cell.parse(path) == Cell.parse(str(path)) == cell


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,12}", fullmatch=True)


@given(NAMES, NAMES, NAMES, NAMES | st.sampled_from(["batch_topk", "l0_8"]), st.integers(1, 10**6), st.integers(0, 99))
def test_every_cell_is_read_back(run, model, stream, trainer, l0, seed):
    cell = Cell(run, model, stream, trainer, l0, seed)
    assert Cell.parse(cell.folder / "scores/ood.json") == cell
    assert Cell.FOLDER.format(**vars(cell)) == str(cell.folder)


@pytest.mark.parametrize(
    "path", ["results/paper/m/oracle.json", "results/p/m/s/t/l0_x/seed_0/a", "x", "p/m/s/t/l0_8/seed_0"]
)
def test_what_is_in_no_cell_is_refused(path):
    with pytest.raises(ValueError, match="not in a cell's folder"):
        Cell.parse(path)


def test_no_other_place_spells_a_cells_path():
    """But the README and the docs, which show it."""
    root = Path(__file__).parents[2]
    files = [*root.glob("scripts/**/*.py"), *root.glob("rules/*.smk")]
    spelled = [str(path.relative_to(root)) for path in files if "seed_{" in path.read_text()]
    assert spelled == ["scripts/maskedsae/saes/cells.py"]
    guessed = [str(path.relative_to(root)) for path in files if 'removeprefix("l0_")' in path.read_text()]
    assert guessed == []


# The jobs.


def test_the_tables_need_18_saes_in_6_jobs():
    found = training_jobs(PAPER, needed=True)
    assert [(job.model, job.stream, l0s_of(job)) for job in found] == [
        (PYTHIA, "clean", ALL),
        (PYTHIA, "mask20", (20,)),
        (PYTHIA, "mask30", ALL),
        (PYTHIA, "mask50", (20,)),
        (GEMMA, "clean", ALL),
        (GEMMA, "mask30", ALL),
    ]
    assert len(all_cells(found)) == 18


def test_the_rest_of_the_grid_is_14_saes_in_4_jobs():
    found = training_jobs(PAPER, needed=False)
    assert [(job.model, job.stream, l0s_of(job)) for job in found] == [
        (PYTHIA, "mask20", (40, 80, 160)),
        (PYTHIA, "mask50", (40, 80, 160)),
        (GEMMA, "mask20", ALL),
        (GEMMA, "mask50", ALL),
    ]
    assert len(all_cells(found)) == 14


MORE = {
    "l0": {"l0": [*RAW["l0"], 320]},
    "an l0 between": {"l0": [20, 30, 40, 80, 160]},
    "seed": {"seeds": [0, 1]},
    "stream": {"streams": [*RAW["streams"], {"name": "mask70", "p": 0.7}]},
    "corruption": {"streams": [*RAW["streams"], {"name": "del30", "corruption": {"kind": "delete", "p": 0.3}}]},
    "model": {"models": [{**RAW["models"][0], "name": "another"}, *RAW["models"]]},
    "trainer": {"trainers": ["topk", *RAW["trainers"]]},
    "trainer entry": {
        "trainers": ["matryoshka-16k", *RAW["trainers"]],
        "trainer_settings": RAW["trainer_settings"] | {"matryoshka-16k": {"kind": TRAINER, "dict_size": 16384}},
    },
}


@pytest.mark.parametrize("what", MORE)
def test_growing_the_grid_leaves_every_job_as_it_was(what):
    """The tables that show every l0 need the new one too, so what is needed may grow, but by jobs of its own."""
    grown = paper_with(**MORE[what])
    assert set(jobs(PAPER)) < set(jobs(grown))
    assert set(training_jobs(PAPER, needed=True)) <= set(training_jobs(grown, needed=True))
    for job in jobs(PAPER):
        assert settings.train_settings(grown, job) == settings.train_settings(PAPER, job)
    if what != "corruption":  # which drops rows, and so needs more text: its beginning is the same
        assert settings.token_settings(grown) == settings.token_settings(PAPER)
    assert settings.model_settings(grown, GEMMA) == settings.model_settings(PAPER, GEMMA)


@pytest.mark.parametrize("what", MORE)
def test_no_two_jobs_share_a_name_or_a_file(what):
    found = jobs(paper_with(**MORE[what]))
    files = [file for job in found for file in job.files()]
    assert len({job.name for job in found}) == len(found)
    assert len(set(files)) == len(files)


def test_without_l0_sets_each_sae_is_a_job():
    alone = jobs(paper_with(l0_sets=[]))
    assert all(len(job.cells) == 1 for job in alone)
    assert len(alone) == 32


def test_how_the_saes_are_grouped_is_no_part_of_what_they_are():
    """So another table, or other l0_sets, retrain nothing (tests/workflow/test_dag.py)."""
    ungrouped = paper_with(l0_sets=[])
    whole, alone = jobs(PAPER)[0], jobs(ungrouped)[0]
    assert (whole.stream, l0s_of(whole), alone.stream, l0s_of(alone)) == ("clean", ALL, "clean", (20,))
    assert settings.train_settings(PAPER, whole) == settings.train_settings(ungrouped, alone)
    assert set(alone.files()) < set(whole.files())


def test_a_penalty_for_another_l0_leaves_the_sae_of_this_one_as_it_is():
    """Also where they share a job, and on the way through Snakemake, where l0s are text."""

    def of(l0s: list[int], l0_sets: list[list[int]], **penalties: float) -> dict[int, Trainer]:
        entries = deepcopy(RAW["trainer_settings"])
        entries["standard"]["l1_penalty"] |= {int(l0.removeprefix("l0_")): given for l0, given in penalties.items()}
        config = paper_with(trainers=["standard"], trainer_settings=entries, l0=l0s, l0_sets=l0_sets, tables=[])
        found = {}
        for job in jobs(config):
            lines = spelled_out(settings.train_settings(config, job))
            given = settings_of(TrainJobSettings, lines).for_cell("standard", 0).trainer
            assert set(given.by_l0["l1_penalty"]) == set(l0s_of(job))
            found |= {l0: given.at(l0) for l0 in l0s_of(job)}
        return found

    before = of([20, 40], [[20, 40]])
    assert before[20].settings["l1_penalty"] == RAW["trainer_settings"]["standard"]["l1_penalty"][20]
    assert not before[20].by_l0
    assert of([20, 40, 80], [[20, 40]], l0_80=0.5)[20] == before[20]
    after = of([20, 40], [], l0_40=0.5)
    assert (after[20], after[40].settings["l1_penalty"]) == (before[20], 0.5)


def test_trainers_and_seeds_may_share_a_job_and_each_cell_depends_on_the_same_as_alone():
    apart = paper_with(trainers=[TRAINER, "topk", "batch_topk"], seeds=[0, 1, 2], seeds_per_stream=2)
    together = paper_with(
        trainers=[TRAINER, "topk", "batch_topk"], seeds=[0, 1, 2], seeds_per_stream=2, trainer_sets=[[TRAINER, "topk"]]
    )
    assert set(all_cells(jobs(apart))) == set(all_cells(jobs(together)))
    first = jobs(together)[0]
    assert first.name == f"{PYTHIA}_clean_{TRAINER}-and-topk_l0_20-40-80-160_seed_0-1"
    assert len(first.cells) == 2 * 4 * 2
    own = {
        cell: settings.train_settings(apart, job).for_cell(cell.trainer, cell.seed)
        for job in jobs(apart)
        for cell in job.cells
    }
    for job in jobs(together):
        shared = settings.train_settings(together, job)
        assert {cell: shared.for_cell(cell.trainer, cell.seed) for cell in job.cells} == {
            cell: own[cell] for cell in job.cells
        }


def test_seeds_that_share_a_stream_read_that_of_the_first_of_them():
    config = paper_with(seeds=[5, 0, 1, 2, 4], seeds_per_stream=2)
    assert [config.stream_seed(seed) for seed in range(6)] == [0, 0, 2, 2, 4, 4]
    seeds = [tuple(dict.fromkeys(cell.seed for cell in job.cells)) for job in training_jobs(config, needed=True)]
    assert set(seeds) == {(0, 1), (2,), (5, 4)}
    # With one a stream, as in the paper, each reads its own; seeds 0, 2 and 4 are then the same SAEs.
    assert [PAPER.stream_seed(seed) for seed in range(4)] == [0, 1, 2, 3]


def test_a_joint_name_is_a_cells_own_where_there_is_one():
    cell = Cell("r", "m", "s", "t", 8, 0)
    assert joint_name([cell]) == cell.name
    assert joint_name([cell, replace(cell, l0=20)]) == "m_s_t_l0_8-20_seed_0"


# What each result depends on.


def test_every_sae_has_its_scores_and_every_model_an_oracle():
    scores = [score for cell in all_cells(jobs(PAPER)) for score in score_files(PAPER, cell)]
    assert len(set(scores)) == 32 * 11
    own = ("variance", "letters", "l0", "ood", "robustness", "parents")
    for name in ("absorption", "core", "sparse_probing", "tpp", "scr", *own):
        assert f"results/paper/{GEMMA}/mask30/{TRAINER}/l0_20/seed_0/scores/{name}.json" in scores
    assert oracles(PAPER) == [f"results/paper/{model}/oracle.json" for model in (PYTHIA, GEMMA)]
    assert len(sae_files(jobs(PAPER)[0].cells[0])) == 8


@pytest.mark.parametrize(
    ("key", "value"),
    [("hub", "owner/other"), ("revision", "step1000"), ("layer", 3), ("bos", True), ("path", "models/x")],
)
def test_what_the_rule_model_is_given_of_a_model_is_all_that_its_entry_says(key, value):
    """Every hub model failed once because its revision was left out."""
    model = RAW["models"][0] | {key: value} | ({"hub": None} if key == "path" else {})
    changed = settings.model_settings(paper_with(models=[model, RAW["models"][1]]), PYTHIA)
    assert getattr(changed, key) == value
    assert changed != settings.model_settings(PAPER, PYTHIA)


def test_tf32_is_part_of_an_saes_identity_and_of_no_scores():
    models = [RAW["models"][0] | {"tf32": True}, RAW["models"][1]]
    config = paper_with(models=models)
    for job, same in zip(jobs(PAPER), jobs(config), strict=True):
        before, after = settings.train_settings(PAPER, job), settings.train_settings(config, same)
        assert (before == after) == (job.model == GEMMA)
        assert after.for_cell(TRAINER, 0).model.tf32 == (job.model == PYTHIA)
    for of in (settings.model_settings, settings.scoring, settings.sharing, settings.ood_texts):
        assert of(config, PYTHIA) == of(PAPER, PYTHIA)


def test_a_model_entry_needs_no_more_than_a_name_a_source_and_a_layer():
    config = paper_with(models=[*RAW["models"], {"name": "mine", "hub": "owner/name", "layer": 3}])
    model = config.model("mine")
    assert (model.path, model.revision, model.bos, model.dtype, model.lm_batch, model.tf32, model.gflop) == (
        *(None, None, None),
        *("float32", 8, False, None),
    )


def test_the_code_that_a_stream_depends_on_is_its_corruptions_own():
    """So a new kind of corruption retrains nothing, and the baseline depends on none."""
    config = paper_with(streams=MORE["corruption"]["streams"], tables=[])
    kinds = {}
    for job in jobs(config):
        code = settings.train_settings(config, job).code[TRAINER]
        kinds[job.stream] = {name.rsplit(".", 1)[1] for name in code if ".corruptions." in name} - {"base"}
        assert {name for name in code if ".trainers." in name} == {"saes.trainers.base", f"saes.trainers.{TRAINER}"}
    assert kinds == {"clean": set(), "mask20": {"mask"}, "mask30": {"mask"}, "mask50": {"mask"}, "del30": {"delete"}}


def test_what_is_for_saes_alone_is_no_part_of_the_oracle():
    changed = paper_with(ood=RAW["ood"] | {"k": 64, "same_rows": False})
    assert settings.oracle_probing(changed) == settings.oracle_probing(PAPER)
    assert settings.probing(changed) != settings.probing(PAPER)
    assert settings.ood_texts(changed, GEMMA) == settings.ood_texts(PAPER, GEMMA)


def test_what_is_for_saes_alone_is_no_part_of_what_they_share():
    """Else another N or k-sparse probe would make gigabytes of activations anew."""
    saebench = deepcopy(RAW["saebench"])
    saebench["scr_and_tpp"]["n_values"] = [2, 20]
    saebench["absorption"]["max_k_value"] = 5
    changed = paper_with(saebench=saebench)
    assert settings.sharing(changed, GEMMA) == settings.sharing(PAPER, GEMMA)
    assert settings.scoring(changed, GEMMA) != settings.scoring(PAPER, GEMMA)
    assert settings.saebench_texts(changed) == settings.saebench_texts(PAPER)


def only(*evals: str) -> Configuration:
    """The paper's, with these of SAEBench's evals; without what needs the others."""
    endpoints = {name: known | {"l0": None} for name, known in RAW["analysis"]["endpoints"].items() if name == "ood"}
    analysis = RAW["analysis"] | {"endpoints": endpoints, "arms": ["mask30"]}
    return paper_with(saebench=RAW["saebench"] | {"evals": list(evals)}, tables=[], analysis=analysis)


@pytest.mark.parametrize(
    ("evals", "files"),
    [
        (("core",), ["core", "variance", "l0"]),
        (("absorption", "tpp"), ["absorption", "tpp", "letters", "l0"]),
        (("scr", "sparse_probing"), ["sparse_probing", "scr", "l0"]),
    ],
)
def test_an_sae_has_the_score_files_of_the_evals_that_are_asked_for(evals, files):
    config = only(*evals)
    cell = all_cells(jobs(config))[0]
    assert [Path(path).stem for path in score_files(config, cell)] == [*files, "ood", "robustness", "parents"]
    assert settings.shown(config).models[0].scores == (*files, "ood", "robustness", "parents", "quality")


def test_letter_by_letter_nothing_is_explained_where_absorption_is_not_asked_for():
    with_it, without = only("absorption"), only("core", "tpp")
    assert len(mechanisms(with_it, all_cells(jobs(with_it)))) == 2
    assert mechanisms(without, all_cells(jobs(without))) == []


def test_which_evals_are_asked_for_is_no_part_of_what_decides_each():
    """So one that is added later runs alone; and their order says nothing."""
    for make in (settings.scoring, settings.sharing):
        some, every = make(only("tpp", "core"), GEMMA), make(PAPER, GEMMA)
        assert some.asked == ("core", "tpp")
        assert all(some.of(name) == every.of(name) for name in every.asked)
        assert make(only("core", "tpp"), GEMMA) == some
    assert settings.saebench_texts(only("core")) == settings.saebench_texts(PAPER)


def test_the_placeholder_is_asked_for_little_and_for_the_same_texts_and_probes():
    evals = settings.sharing(PAPER, GEMMA).placeholder_evals()
    assert (evals.absorption.max_k_value, evals.scr_and_tpp.n_values) == (1, (2,))
    assert evals.absorption.prompt_template == PAPER.saebench.absorption.prompt_template
    assert evals.scr_and_tpp.class_pairs == PAPER.saebench.scr_and_tpp.class_pairs


@pytest.mark.parametrize(("model", "batch"), [(PYTHIA, 256), (GEMMA, 32)])
def test_the_batches_are_saebenchs_own_for_the_papers_models(model, batch):
    """LLM_NAME_TO_BATCH_SIZE of its activation_collection, for texts of 128 tokens."""
    assert settings.scoring(PAPER, model).batch_tokens == batch * 128


# Text.


@given(
    tokens=st.integers(10**4, 10**6),
    context_length=st.integers(2, 2048),
    drop_bos=st.booleans(),
    max_norm_multiple=st.sampled_from([None, 10]),
)
def test_there_are_just_enough_contexts_for_the_activations(tokens, context_length, drop_bos, max_norm_multiple):
    training = replace(PAPER.training, tokens=tokens, drop_bos=drop_bos, max_norm_multiple=max_norm_multiple)
    config = replace(PAPER, training=training, tokens=replace(PAPER.tokens, context_length=context_length))
    contexts = settings.token_settings(config).train_contexts
    to_spare = tokens * 0.01 if max_norm_multiple else 0  # for the activations that will be dropped
    per_context = context_length - drop_bos
    assert (contexts - 1) * per_context < tokens + to_spare <= contexts * per_context


def test_a_stream_that_drops_rows_reads_more_text_and_the_others_no_more_than_before():
    fewer = {"name": "fewer30", "corruption": {"kind": "mask", "p": 0.3}, "context": "clean", "rows": "untouched"}
    config = paper_with(streams=[*RAW["streams"], fewer])
    needed = {stream.name: settings.contexts_of(config, stream) for stream in config.streams}
    plain = -(-500_000_000 // 1024)
    assert needed == {"clean": plain, "mask20": plain, "mask30": plain, "mask50": plain, "fewer30": needed["fewer30"]}
    assert needed["fewer30"] == pytest.approx(plain * 1.01 / 0.7, rel=1e-5)
    assert settings.token_settings(config).train_contexts == needed["fewer30"]
    for job in jobs(PAPER):
        assert settings.train_settings(config, job) == settings.train_settings(PAPER, job)


def test_dropping_bos_where_contexts_have_none_is_refused():
    config = paper_with(training=RAW["training"] | {"drop_bos": True})
    with pytest.raises(InputError, match=r"^training.drop_bos: .* have no BOS: set it to false, or the model's bos"):
        settings.token_settings(config).check(bos=False)
