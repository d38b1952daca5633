"""The grid that a configuration spells out, and that growing it leaves the finished jobs as they are."""

from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from maskedsae.experiment.grid import (
    L0Set,
    folders_of,
    l0_sets,
    model_settings,
    ood_activation_settings,
    ood_settings,
    oracle_settings,
    oracles,
    saebench_data_settings,
    saebench_model_settings,
    saebench_settings,
    token_settings,
    train_settings,
)
from maskedsae.jobs.errors import InputError
from maskedsae.text.packing import token_arguments

PAPER = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
PYTHIA, GEMMA, TRAINER = "pythia-160m-deduped", "gemma-2-2b", "matryoshka_batch_topk"
ALL = (20, 40, 80, 160)


def paper_with(**changes) -> dict:
    return deepcopy(PAPER) | changes


def jobs(config: dict) -> list[L0Set]:
    return l0_sets(config, needed=True) + l0_sets(config, needed=False)


def test_the_tables_need_18_saes_in_6_jobs():
    sets = l0_sets(PAPER, needed=True)
    assert [(cells.model, cells.stream, cells.l0s) for cells in sets] == [
        (PYTHIA, "clean", ALL),
        (PYTHIA, "mask20", (20,)),
        (PYTHIA, "mask30", ALL),
        (PYTHIA, "mask50", (20,)),
        (GEMMA, "clean", ALL),
        (GEMMA, "mask30", ALL),
    ]
    assert sum(len(cells.l0s) for cells in sets) == 18


def test_the_rest_of_the_grid_is_14_saes_in_4_jobs():
    sets = l0_sets(PAPER, needed=False)
    assert [(cells.model, cells.stream, cells.l0s) for cells in sets] == [
        (PYTHIA, "mask20", (40, 80, 160)),
        (PYTHIA, "mask50", (40, 80, 160)),
        (GEMMA, "mask20", ALL),
        (GEMMA, "mask50", ALL),
    ]
    assert sum(len(cells.l0s) for cells in sets) == 14


MORE = {
    "l0": {"l0": [*PAPER["l0"], 320]},
    "an l0 between": {"l0": [20, 30, 40, 80, 160]},
    "seed": {"seeds": [0, 1]},
    "stream": {"streams": [*PAPER["streams"], {"name": "mask70", "p": 0.7}]},
    "model": {"models": [{**PAPER["models"][0], "name": "another"}, *PAPER["models"]]},
    "trainer": {"trainers": ["topk", *PAPER["trainers"]]},
}


@pytest.mark.parametrize("what", MORE)
def test_growing_the_grid_leaves_every_job_as_it_was(what):
    """The tables that show every l0 need the new one too, so what is needed may grow, but by jobs of its own."""
    grown = paper_with(**MORE[what])
    assert set(jobs(PAPER)) < set(jobs(grown))
    assert set(l0_sets(PAPER, needed=True)) <= set(l0_sets(grown, needed=True))
    for cells in jobs(PAPER):
        assert train_settings(grown, cells) == train_settings(PAPER, cells)
    assert token_settings(grown) == token_settings(PAPER)
    assert model_settings(grown, GEMMA) == model_settings(PAPER, GEMMA)


@pytest.mark.parametrize("what", MORE)
def test_no_two_jobs_share_a_name_or_a_file(what):
    sets = jobs(paper_with(**MORE[what]))
    files = [file for cells in sets for file in cells.files()]
    assert len({cells.name for cells in sets}) == len(sets)
    assert len(set(files)) == len(files)


def test_without_l0_sets_each_sae_is_a_job():
    assert all(len(cells.l0s) == 1 for cells in jobs(paper_with(l0_sets=[])))
    assert len(jobs(paper_with(l0_sets=[]))) == 32


def test_how_the_saes_are_grouped_is_no_part_of_what_they_are():
    """So another table, or other l0_sets, retrain nothing (tests/workflow/test_dag.py)."""
    whole, alone = jobs(PAPER)[0], jobs(paper_with(l0_sets=[]))[0]
    assert (whole.stream, whole.l0s, alone.stream, alone.l0s) == ("clean", ALL, "clean", (20,))
    assert train_settings(PAPER, whole) == train_settings(PAPER, alone)
    assert set(alone.files()) < set(whole.files())


def test_every_sae_has_its_scores_and_every_model_an_oracle():
    scores = [score for cells in jobs(PAPER) for score in cells.scores()]
    assert len(set(scores)) == 32 * 7
    for name in ("absorption", "core", "sparse_probing", "tpp", "scr", "variance", "ood"):
        assert f"results/paper/{GEMMA}/mask30/{TRAINER}/l0_20/seed_0/scores/{name}.json" in scores
    assert oracles(PAPER) == [f"results/paper/{model}/oracle.json" for model in (PYTHIA, GEMMA)]


def test_what_is_for_saes_alone_is_no_part_of_the_oracle():
    ood = PAPER["ood"] | {"k": 64, "same_rows": False}
    assert oracle_settings(paper_with(ood=ood)) == oracle_settings(PAPER)
    assert ood_settings(paper_with(ood=ood)) != ood_settings(PAPER)
    assert ood_activation_settings(paper_with(ood=ood), GEMMA) == ood_activation_settings(PAPER, GEMMA)


def test_what_is_for_saes_alone_is_no_part_of_what_they_share():
    """Else another N or k-sparse probe would make gigabytes of activations anew."""
    saebench = deepcopy(PAPER["saebench"])
    saebench["scr_and_tpp"]["n_values"] = [2, 20]
    saebench["absorption"]["max_k_value"] = 5
    changed = paper_with(saebench=saebench)
    assert saebench_model_settings(changed, GEMMA) == saebench_model_settings(PAPER, GEMMA)
    assert saebench_settings(changed, GEMMA) != saebench_settings(PAPER, GEMMA)
    assert saebench_data_settings(changed) == saebench_data_settings(PAPER)


@pytest.mark.parametrize(("model", "batch"), [(PYTHIA, 256), (GEMMA, 32)])
def test_the_batches_are_saebenchs_own_for_the_papers_models(model, batch):
    """LLM_NAME_TO_BATCH_SIZE of its activation_collection, for texts of 128 tokens."""
    assert saebench_settings(PAPER, model)["batch_tokens"] == batch * 128


def test_a_cells_folder_says_which_it_is_and_is_found_again_from_its_files():
    cells = L0Set("paper", GEMMA, "mask30", TRAINER, 1, (160, 20))
    assert cells.folder(20) == Path(f"results/paper/{GEMMA}/mask30/{TRAINER}/l0_20/seed_1")
    assert folders_of(cells.files()) == {20: cells.folder(20), 160: cells.folder(160)}


@given(
    tokens=st.integers(1, 10**6),
    context_length=st.integers(2, 2048),
    drop_bos=st.booleans(),
    max_norm_multiple=st.sampled_from([None, 10]),
)
def test_there_are_just_enough_contexts_for_the_activations(tokens, context_length, drop_bos, max_norm_multiple):
    config = deepcopy(PAPER)
    config["training"] |= {"tokens": tokens, "drop_bos": drop_bos, "max_norm_multiple": max_norm_multiple}
    config["tokens"]["context_length"] = context_length
    contexts = token_arguments(token_settings(config), bos=True)["train_contexts"]
    to_spare = tokens // 100 if max_norm_multiple else 0  # for the activations that will be dropped
    per_context = context_length - drop_bos
    assert (contexts - 1) * per_context < tokens + to_spare <= contexts * per_context


def test_dropping_bos_where_contexts_have_none_is_refused():
    config = deepcopy(PAPER)
    config["training"]["drop_bos"] = True
    with pytest.raises(InputError, match=r"^training.drop_bos: .* have no BOS: set it to false, or the model's bos"):
        token_arguments(token_settings(config), bos=False)
