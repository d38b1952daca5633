"""The demo, run as `make demo` runs it, in a fresh copy: its SAEs, its language models, and nothing done twice."""

import csv
import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from dictionary_learning.utils import load_dictionary
from sklearn.metrics import f1_score

from checkout import demo_config
from checkout import snakemake_demo as snakemake
from maskedsae.activations.language_models import LanguageModel, read_facts
from maskedsae.scores.saebench.language_model import hooked_transformer
from maskedsae.scores.saebench.saes import load_for_saebench
from maskedsae.text.tokens import Tokens

LAYER = 1


def test_it_trains_the_ten_saes_of_the_tables_and_four_that_take_masking_apart(demo_cells):
    both = {(stream, l0) for stream in ("clean", "mask30") for l0 in (8, 20)}
    expected = {("pythia-demo", *cell) for cell in both | {("mask20", 8), ("mask50", 8)}}
    expected |= {("gemma-demo", *cell) for cell in both}
    (more,) = demo_config()["analysis"]["baseline_l0"]
    arms = {("clean", more), ("budget30", 8), ("context30", 8), ("fewer30", 8)}
    expected |= {("pythia-demo", *cell) for cell in arms}
    assert demo_cells.keys() == expected


def test_a_second_run_does_nothing(demo):
    again = snakemake(demo, "--dry-run", "--quiet", "host")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_saes_learned_something(demo_cells):
    for cell, folder in demo_cells.items():
        rows = list(csv.DictReader((folder / "training.csv").open()))
        assert float(rows[-1]["loss"]) < float(rows[1]["loss"]), cell
        quality = json.loads((folder / "sae" / "quality.json").read_text())
        assert quality["explained_variance"] > 0.8, cell
        assert quality["dead_latents"] < quality["latents"] / 2, cell


def test_l0_on_clean_text_is_higher_where_rows_of_masked_tokens_are_kept(demo_cells):
    """They need hardly any latents; a batch top-k gives their share to the others: about l0 / (1 - p). Clean contexts
    beside them change nothing of that, and neither do masked contexts without them."""
    shares = {"clean": 0, "mask20": 0.2, "mask30": 0.3, "mask50": 0.5, "budget30": 0.3, "context30": 0, "fewer30": 0}
    for (_, stream, l0), folder in demo_cells.items():
        achieved = json.loads((folder / "sae" / "quality.json").read_text())["l0"]
        assert achieved == pytest.approx(l0 / (1 - shares[stream]), rel=0.12), (stream, l0)


def test_the_three_loaders_agree_on_a_demo_sae(demo, demo_cells):
    from sae_lens import SAE

    facts = read_facts(demo / "results/demo/gemma-demo/model.json")
    facts = replace(facts, path=str(demo / facts.path))
    contexts = torch.from_numpy(Tokens.open(demo / "results/demo/gemma-demo/tokens").heldout(0, 4))
    x = LanguageModel(facts, "float32", "cpu").residual(contexts).flatten(0, 1)
    folder = demo_cells["gemma-demo", "mask30", 20] / "sae"
    dictionary, _ = load_dictionary(str(folder), device="cpu")
    with torch.no_grad():
        expected = dictionary(x)
        for other in (SAE.load_from_disk(folder), load_for_saebench(folder, "gemma-demo")):
            assert ((other(x) - expected).norm() / expected.norm()).item() < 1e-5


def test_logs_tell_what_happened(demo):
    log = (demo / "results/demo/logs/train/pythia-demo_mask50_matryoshka_batch_topk_l0_8_seed_0.log").read_text()
    assert "on clean text (nominal 8)" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("model", ["gpt-neox", "gemma-2"])
def test_saebenchs_own_probe_finds_first_letters(demo, model, tmp_path):
    """Its absorption eval wants at least 20 letters with an F1 over 0.6, and else says nothing at all."""
    from sae_bench.evals.absorption import common
    from sae_bench.evals.absorption.vocab import get_alpha_tokens

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    torch.set_num_threads(1)
    # In the vocabulary's own order, which differs between processes, the split and so the result would differ too.
    common.get_alpha_tokens = lambda *args, **options: sorted(get_alpha_tokens(*args, **options))
    path = str(demo / "results/demo/world" / model)
    (name,) = [name for name, lm in (("pythia-demo", "gpt-neox"), ("gemma-demo", "gemma-2")) if lm == model]
    facts = replace(read_facts(demo / f"results/demo/{name}/model.json"), name=model, path=path)
    hooked = hooked_transformer(facts, "float32", bos=None)
    try:
        common.train_and_save_probes(
            hooked, [LAYER], "{word} has the first letter:", -6, probes_dir=tmp_path, device="cpu"
        )
    finally:
        common.get_alpha_tokens = get_alpha_tokens
    probe = common.load_probe(hooked.cfg.model_name, LAYER, tmp_path, torch.float32, "cpu")
    x, rows = common.load_probe_data_split(hooked, LAYER, "test", tmp_path, torch.float32, "cpu")
    letters = np.array([row[1] for row in rows])
    found = (probe(x.clone()) > 0).detach().numpy()
    scores = [f1_score(letters == letter, found[:, letter], zero_division=0) for letter in range(26)]
    assert sum(score > 0.6 for score in scores) >= 20


def test_the_ood_sets_are_not_in_its_text(demo):
    from maskedsae.world.text import ood_prompts

    texts = [json.loads(line)["text"] for line in (demo / "results/demo/world/corpus.jsonl").open()]
    assert not ood_prompts().intersection(texts)
