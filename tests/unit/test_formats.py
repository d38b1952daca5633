"""A cell's files load in dictionary_learning, SAELens and SAEBench, which then reconstruct alike."""

import json
import subprocess

import pytest
import torch
from dictionary_learning.utils import load_dictionary
from sae_lens import SAE

from conftest import COMPUTE, a_cell, train_settings
from maskedsae.activations.language_models import LanguageModel
from maskedsae.saes.trainers.base import known_kinds
from maskedsae.saes.training import train_cells
from maskedsae.scores.saebench.saes import load_for_saebench
from maskedsae.text.tokens import Tokens


@pytest.fixture(scope="module")
def activations(facts, tokens_folders):
    model = LanguageModel(facts["gpt_neox"], "float32", "cpu")
    return model.residual(torch.from_numpy(Tokens.open(tokens_folders["gpt_neox"]).heldout(0, 20))).flatten(0, 1)


@pytest.mark.parametrize("trainer", known_kinds())
@torch.no_grad()
def test_three_loaders_reconstruct_alike(trainer, cells, activations):
    folder = cells[trainer] / "sae"
    dictionary, _ = load_dictionary(str(folder), device="cpu")
    reconstruction, features = dictionary(activations, output_features=True)
    assert (features != 0).sum() > 0
    for other in (SAE.load_from_disk(folder), load_for_saebench(folder, "tiny")):
        assert torch.equal(other.encode(activations) != 0, features != 0)
        torch.testing.assert_close(other(activations), reconstruction, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_explained_variance_sees_a_constant_offset(activations, facts, tokens_folders):
    """An SAE that is wrong by the same vector everywhere: one of the two measures says so, the other does not."""
    from maskedsae.saes.quality import Quality

    class Offset:
        dict_size, activation_dim = 4, 32

        def __call__(self, x, output_features):
            return x + 1, torch.tensor([[1.0, 2.0, 0.0, 3.0]]).expand(len(x), 4)

    quality = Quality(Offset(), 4)
    for rows in activations.split(100):
        quality.add(rows)
    measured = quality.result()
    assert (measured["l0"], measured["dead_latents"], measured["latents"]) == (3, 1, 4)
    assert measured["mse"] == pytest.approx(1, rel=1e-5)
    assert measured["explained_variance_but_for_a_constant"] == pytest.approx(1)
    variance = (activations - activations.mean(0)).double().pow(2).sum().item()
    assert measured["explained_variance"] == pytest.approx(1 - activations.numel() / variance, rel=1e-4)


@torch.no_grad()
def test_loaders_agree_on_an_sae_of_mixed_precision(activations, facts, tokens_folders, tmp_path, monkeypatch):
    """As a GPU trains it: b_dec is then bfloat16 in ae.pt."""
    monkeypatch.setattr("maskedsae.saes.training.check_device", lambda device, autocast: None)
    settings = train_settings(autocast="bfloat16")
    with torch.enable_grad():
        manifest = tokens_folders["gpt_neox"] / "manifest.json"
        train_cells({a_cell(8): tmp_path}, settings, facts["gpt_neox"], manifest, COMPUTE)
    dictionary, _ = load_dictionary(str(tmp_path / "sae"), device="cpu")
    for other in (SAE.load_from_disk(tmp_path / "sae"), load_for_saebench(tmp_path / "sae", "tiny")):
        torch.testing.assert_close(other(activations), dictionary(activations), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trainer", known_kinds())
def test_saebench_knows_the_architecture_and_the_place(trainer, cells):
    sae = load_for_saebench(cells[trainer] / "sae", "tiny")
    assert sae.cfg.architecture == trainer
    assert sae.cfg.hook_name == "blocks.1.hook_resid_post"
    assert sae.check_decoder_norms()


def test_checksums_are_sha256sums_own_format(cells):
    folder = cells["matryoshka_batch_topk"] / "sae"
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True)
    assert len((folder / "SHA256SUMS").read_text().splitlines()) == 4


def test_provenance_says_where_the_sae_came_from(cells):
    origin = json.loads((cells["topk"] / "sae" / "provenance.json").read_text())
    assert origin["tokens"] == 6400 and origin["steps"] == 100 and origin["threads"] == 1
    assert origin["settings"]["trainer"]["kind"] == "topk" and origin["l0"] == 8
    assert origin["versions"]["torch"] == torch.__version__
    assert [run["from_step"] for run in origin["runs"]] == [0]
    assert origin["wall_seconds"] > 0 and origin["device"].startswith("cpu")


@pytest.mark.parametrize("trainer", known_kinds())
@torch.no_grad()
def test_quality_is_measured_on_clean_held_out_text(trainer, cells, activations, facts, tokens_folders):
    """The streamed sums against the plain formulas, on all activations at once."""
    quality = json.loads((cells[trainer] / "sae" / "quality.json").read_text())
    contexts = torch.from_numpy(Tokens.open(tokens_folders["gpt_neox"]).heldout(0, 20))
    first = torch.zeros_like(contexts)
    first[:, 0] = 1
    x = activations[((contexts != 0) & (first == 0)).flatten()]
    dictionary, _ = load_dictionary(str(cells[trainer] / "sae"), device="cpu")
    x_hat, features = dictionary(x, output_features=True)
    residual = (x - x_hat).double()
    assert quality["tokens"] == len(x) < len(activations)
    assert quality["l0"] == pytest.approx((features != 0).sum(1).double().mean().item(), rel=1e-3)
    variance = (x.double() - x.double().mean(0)).pow(2).sum()
    explained = 1 - (residual.pow(2).sum() / variance).item()
    assert quality["explained_variance"] == pytest.approx(explained, rel=1e-4)
    forgiving = 1 - (residual.var(0).sum() / x.double().var(0).sum()).item()
    assert quality["explained_variance_but_for_a_constant"] == pytest.approx(forgiving, rel=1e-4)
    assert forgiving >= explained
    assert quality["mse"] == pytest.approx(residual.pow(2).mean().item(), rel=1e-4)
    assert quality["dead_latents"] == pytest.approx(((features != 0).sum(0) == 0).sum().item(), abs=1)


def test_training_csv_has_what_people_watch(cells):
    lines = (cells["matryoshka_batch_topk"] / "training.csv").read_text().splitlines()
    header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    assert header[:7] == ["step", "tokens", "loss", "l0", "explained_variance", "mse", "dead_latents"]
    assert [int(row[0]) for row in rows] == [*range(0, 100, 10), 99]
    assert float(rows[-1][4]) > float(rows[0][4])  # it explains more than at the start
