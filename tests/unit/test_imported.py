"""SAEs of section `saes`: what dictionary_learning and SAELens wrote computes the same as ours, or is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dictionary_learning.utils import load_dictionary
from safetensors.torch import load_file, save_file
from sklearn.decomposition import PCA

from conftest import COMPUTE
from imported_saes import (
    HOOK,
    LATENTS,
    OF_DICTIONARY_LEARNING,
    OF_SAELENS,
    WIDTH,
    write_dictionary_learning,
    write_saelens,
)
from maskedsae.activations.language_models import LanguageModel
from maskedsae.jobs.errors import InputError
from maskedsae.saes.cells import Cell, Imported, sae_of
from maskedsae.saes.imported import baselines
from maskedsae.saes.imported.make import import_sae
from maskedsae.saes.imported.settings import Baseline, ImportSettings, Origin
from maskedsae.saes.imported.thresholds import threshold_for
from maskedsae.saes.quality import clean_text, training_rows
from maskedsae.scores.ood.latents import Encoder
from maskedsae.scores.robustness.latents import with_l0
from maskedsae.scores.saebench.checks import check_sae
from maskedsae.scores.saebench.saes import load_for_saebench
from maskedsae.text.tokens import Tokens

SAE_NAME = Imported("tiny", "tiny", "theirs")


@pytest.fixture(scope="module")
def tokens(tokens_folders) -> Tokens:
    return Tokens.open(tokens_folders["gpt_neox"])


@pytest.fixture(scope="module")
def model(facts) -> LanguageModel:
    return LanguageModel(facts["gpt_neox"], "float32", "cpu")


@pytest.fixture(scope="module")
def rows(model, tokens) -> torch.Tensor:
    """The held-out rows on which quality is measured."""
    return torch.cat(list(clean_text(model, tokens, 4).rows))


@pytest.fixture
def imported(facts, tokens, tmp_path):
    """A function of where an SAE comes from: ours, as a folder."""

    def make(**origin) -> Path:
        settings = ImportSettings(Origin.from_plain(origin), "float32", 4, {})
        import_sae(SAE_NAME, tmp_path / "ours", facts["gpt_neox"], tokens, settings, COMPUTE)
        return tmp_path / "ours" / "sae"

    return make


@torch.no_grad()
def both(sae: Any, folder: Path, rows: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Latents and reconstruction: the peer's, and those of our files."""
    ours, _ = load_dictionary(str(folder), device="cpu")
    return [(one.encode(rows), one.decode(one.encode(rows))) for one in (sae, ours)]


def origin_of(folder: Path) -> dict:
    return json.loads((folder / "provenance.json").read_text())["origin"]


@pytest.mark.parametrize("name", OF_DICTIONARY_LEARNING)
def test_an_sae_of_dictionary_learning_computes_the_same(name, imported, rows, tmp_path):
    write_dictionary_learning(tmp_path / "theirs", name)
    sae, _ = load_dictionary(str(tmp_path / "theirs"), device="cpu")
    folder = imported(folder=str(tmp_path / "theirs"))
    (latents, reconstruction), (our_latents, our_reconstruction) = both(sae, folder, rows)
    assert 0 < (latents != 0).float().mean() < 1
    origin = origin_of(folder)
    if name == "AutoEncoderNew":  # another class is: norms are divided out, and the bias goes to another place
        torch.testing.assert_close(our_reconstruction, reconstruction, rtol=1e-5, atol=1e-6)
        assert origin["folded"] == ["decoder norms", "the decoder's bias, taken back in the encoder's"]
    else:
        assert torch.equal(our_latents, latents) and torch.equal(our_reconstruction, reconstruction)
        assert origin["folded"] == (["decoder norms"] if name == "AutoEncoder" else [])
    check_sae(folder, load_for_saebench(folder, "tiny"))
    torch.testing.assert_close(Encoder(folder)(rows), our_latents, rtol=1e-5, atol=1e-5)
    assert set(origin["files"]) == {"ae.pt", "config.json"}


def test_norms_whose_rounding_stops_dictionary_learnings_loader_are_divided_out(imported, rows, tmp_path):
    sae = write_dictionary_learning(tmp_path / "theirs", "AutoEncoder")
    state, half = sae.state_dict(), LATENTS // 2
    state["encoder.bias"] += 1e4
    # Latents that take each other back, so that what is left is rounding.
    state["encoder.weight"][half:], state["encoder.bias"][half:] = (
        state[f"encoder.{name}"][:half] / 3 for name in ("weight", "bias")
    )
    state["decoder.weight"][:, half:] = -3 * state["decoder.weight"][:, :half]
    torch.save(state, tmp_path / "theirs" / "ae.pt")
    with pytest.raises(AssertionError):
        load_dictionary(str(tmp_path / "theirs"), device="cpu")
    theirs = type(sae).from_pretrained(tmp_path / "theirs" / "ae.pt", device="cpu", normalize_decoder=False)
    (latents, reconstruction), (_, ours) = both(theirs, imported(folder=str(tmp_path / "theirs")), rows)
    torch.testing.assert_close(ours, reconstruction, rtol=0, atol=1e-6 * latents.max().item())


@pytest.mark.parametrize("bias", [True, False], ids=["b_dec subtracted", "b_dec not subtracted"])
@pytest.mark.parametrize("architecture", OF_SAELENS)
def test_an_sae_of_saelens_computes_the_same(architecture, bias, imported, rows, tmp_path):
    sae = write_saelens(tmp_path / "theirs", architecture, apply_b_dec_to_input=bias)
    folder = imported(folder=str(tmp_path / "theirs"))
    (latents, reconstruction), (our_latents, our_reconstruction) = both(sae, folder, rows)
    # What is folded is rounded once more, and sums have another order: of some 640 x 64 latents a few are so near to
    # their thresholds that they may differ.
    differ = ((latents != 0) != (our_latents != 0)).any(1)
    assert differ.float().mean() < 0.002 and 0 < (latents != 0).float().mean() < 1
    torch.testing.assert_close(our_reconstruction[~differ], reconstruction[~differ], rtol=1e-4, atol=1e-5)
    check_sae(folder, load_for_saebench(folder, "tiny"))
    torch.testing.assert_close(Encoder(folder)(rows), our_latents, rtol=1e-5, atol=1e-5)


def test_what_was_folded_in_is_written_down(imported, tmp_path):
    write_saelens(tmp_path / "theirs", "topk", rescale_acts_by_decoder_norm=True, apply_b_dec_to_input=False)
    origin = origin_of(imported(folder=str(tmp_path / "theirs")))
    assert origin["folded"] == ["decoder norms", "the decoder's bias, taken back in the encoder's"]
    assert set(origin["files"]) == {"cfg.json", "sae_weights.safetensors"}


def test_quality_is_measured_and_has_no_nominal_l0(imported, rows, tmp_path):
    sae = write_dictionary_learning(tmp_path / "theirs", "BatchTopKSAE")
    quality = json.loads((imported(folder=str(tmp_path / "theirs")) / "quality.json").read_text())
    assert quality["l0"] == pytest.approx((sae.encode(rows) != 0).sum(1).double().mean().item(), abs=1e-9)
    assert "nominal_l0" not in quality and quality["tokens"] == len(rows)


def test_a_cells_own_folder_gives_the_same_files(imported, cells):
    for kind, cell in cells.items():
        folder = imported(folder=str(cell / "sae"))
        assert (folder / "SHA256SUMS").read_text() == (cell / "sae" / "SHA256SUMS").read_text(), kind
        assert origin_of(folder)["folded"] == []


# Refusals: one line that says what to do.


def refusal(imported, folder: Path) -> str:
    with pytest.raises(InputError) as error:
        imported(folder=str(folder))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_another_layer_width_or_site_is_refused(imported, tmp_path):
    write_dictionary_learning(tmp_path / "a", "AutoEncoder", layer=5)
    assert refusal(imported, tmp_path / "a").endswith(
        "a/config.json: the SAE reads layer 5, and of tiny-gpt_neox layer 1 is read: take another SAE, or add the "
        "model once more with that layer"
    )
    write_dictionary_learning(tmp_path / "b", "AutoEncoder", submodule_name="mlp_out_layer_1")
    assert "the SAE reads mlp_out, and SAEs here read the residual stream" in refusal(imported, tmp_path / "b")
    write_saelens(tmp_path / "c", "standard", hook="blocks.1.hook_resid_pre")
    assert "the SAE reads layer 0, and of tiny-gpt_neox layer 1 is read" in refusal(imported, tmp_path / "c")
    write_saelens(tmp_path / "d", "standard", hook="blocks.1.hook_mlp_out")
    assert "the SAE reads blocks.1.hook_mlp_out, and SAEs here read" in refusal(imported, tmp_path / "d")
    write_saelens(tmp_path / "e", "standard", d_in=48)
    assert refusal(imported, tmp_path / "e").endswith(
        "e/cfg.json: the SAE reads 48 dimensions, and tiny-gpt_neox has 32: it is another model's"
    )


def test_the_stream_before_the_next_layer_is_the_stream_after_this_one(imported, tmp_path):
    write_saelens(tmp_path / "theirs", "standard", hook="blocks.2.hook_resid_pre")
    assert (
        json.loads((imported(folder=str(tmp_path / "theirs")) / "cfg.json").read_text())["metadata"]["hook_name"]
        == HOOK
    )


def test_an_unknown_class_is_refused(imported, tmp_path):
    write_dictionary_learning(tmp_path / "a", "AutoEncoder", dict_class="CrossCoder")
    assert "trainer.dict_class: CrossCoder is none of AutoEncoder, " in refusal(imported, tmp_path / "a")
    write_saelens(tmp_path / "b", "standard")
    config = json.loads((tmp_path / "b" / "cfg.json").read_text())
    (tmp_path / "b" / "cfg.json").write_text(json.dumps(config | {"architecture": "transcoder"}))
    assert "architecture: transcoder is none of standard, gated, topk, jumprelu" in refusal(imported, tmp_path / "b")


def test_a_folder_of_no_format_of_two_or_of_half_a_one_is_refused(imported, tmp_path):
    (tmp_path / "a").mkdir()
    assert "is no SAE's folder, since it has neither ae.pt and config.json nor cfg.json" in refusal(
        imported, tmp_path / "a"
    )
    write_saelens(tmp_path / "b", "standard")
    (tmp_path / "b" / "sae_weights.safetensors").unlink()
    assert refusal(imported, tmp_path / "b").endswith(
        "b: sae_weights.safetensors is missing beside cfg.json: restore it"
    )
    write_dictionary_learning(tmp_path / "c", "AutoEncoder")
    write_saelens(tmp_path / "c", "standard")
    assert "has files of dictionary_learning's and of SAELens' format" in refusal(imported, tmp_path / "c")


@pytest.mark.parametrize("normalisation", ["expected_average_only_in", "layer_norm", "constant_norm_rescale"])
def test_a_normalisation_that_is_not_in_the_weights_is_refused(normalisation, imported, tmp_path):
    write_saelens(tmp_path / "theirs", "standard", normalize_activations=normalisation)
    line = refusal(imported, tmp_path / "theirs")
    assert f"normalize_activations is {normalisation}, which is not in its weights: fold it in" in line


def test_weights_that_cannot_be_used_are_refused(imported, tmp_path):
    sae = write_dictionary_learning(tmp_path / "a", "BatchTopKSAE")
    torch.save(sae.state_dict() | {"threshold": torch.tensor(-1.0)}, tmp_path / "a" / "ae.pt")
    assert "the threshold was never set (-1)" in refusal(imported, tmp_path / "a")
    sae = write_dictionary_learning(tmp_path / "b", "AutoEncoderTopK")
    state = sae.state_dict()
    torch.save(state | {"decoder.weight": 2 * state["decoder.weight"]}, tmp_path / "b" / "ae.pt")
    assert "decoder vectors must have norm 1, and to fold their norms into a TopK SAE" in refusal(
        imported, tmp_path / "b"
    )
    torch.save(state | {"b_dec": torch.full((WIDTH,), torch.nan)}, tmp_path / "b" / "ae.pt")
    assert "b_dec has values that are not finite" in refusal(imported, tmp_path / "b")
    (tmp_path / "b" / "ae.pt").write_bytes(b"cut")
    assert "b: dictionary_learning cannot load it: " in refusal(imported, tmp_path / "b")
    write_saelens(tmp_path / "c", "standard")
    weights = load_file(tmp_path / "c" / "sae_weights.safetensors")
    save_file({"W_dec": weights["W_dec"]}, tmp_path / "c" / "sae_weights.safetensors")
    assert "c: SAELens cannot load it: " in refusal(imported, tmp_path / "c")


def test_a_file_that_its_checksum_does_not_fit_is_refused(imported, cells, tmp_path):
    shutil.copytree(cells["topk"] / "sae", tmp_path / "changed")
    with (tmp_path / "changed" / "ae.pt").open("ab") as file:
        file.write(b"!")
    assert refusal(imported, tmp_path / "changed").endswith(
        "ae.pt: is missing or not what its checksum says: restore it"
    )


# Thresholds


@pytest.mark.parametrize("kind", ["matryoshka_batch_topk", "batch_topk", "jumprelu"])
def test_a_cells_other_threshold_gives_the_l0_on_held_out_text(kind, cells, imported, rows, tmp_path, monkeypatch):
    cell = Cell("tiny", "tiny", "mask30", kind, 8, 0)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(cells[kind], cell.folder)
    asked = {"stream": "mask30", "trainer": kind, "l0": 8, "seed": 0, "threshold_for_l0": 5.5}
    folder = imported(cell=asked)
    quality = json.loads((folder / "quality.json").read_text())
    assert quality["l0"] == pytest.approx(5.5, abs=1.5 / len(rows))  # as whole latents allow, and a tie
    before, after = (load_dictionary(str(path), device="cpu")[0] for path in (cell.folder / "sae", folder))
    for name, weights in before.state_dict().items():
        assert torch.equal(weights, after.state_dict()[name]) == (name != "threshold")
    assert origin_of(folder)["threshold"]["for_l0"] == 5.5
    assert origin_of(folder)["cell"] == asked


@pytest.mark.parametrize("kind", ["matryoshka_batch_topk", "batch_topk", "jumprelu"])
def test_robustness_finds_the_same_threshold(kind, cells, rows):
    sae, _ = load_dictionary(str(cells[kind] / "sae"), device="cpu")
    for target in (2, 5.5, 11):
        theirs = with_l0(Encoder(cells[kind] / "sae"), rows, target)
        ours = threshold_for(sae, target, rows.split(100), len(rows), "here")
        torch.testing.assert_close(ours.expand(LATENTS), theirs.weights["threshold"], rtol=1e-6, atol=0)


def test_an_l0_that_no_threshold_gives_is_refused(cells, rows):
    sae, _ = load_dictionary(str(cells["batch_topk"] / "sae"), device="cpu")
    with pytest.raises(
        InputError, match=r"^here: 64 is out of reach: on \d+ tokens the SAE's latents give an l0 between"
    ):
        threshold_for(sae, LATENTS, [rows], len(rows), "here")


# Baselines


def explained(sae: Any, rows: torch.Tensor) -> float:
    error = (rows - sae(rows)).double().pow(2).sum()
    return 1 - (error / (rows - rows.mean(0)).double().pow(2).sum()).item()


@torch.no_grad()
def loaded(made: baselines.Loaded, folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    torch.save(made.weights, folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps({"trainer": made.trainer}))
    return load_dictionary(str(folder), device="cpu")[0]


def test_principal_components_explain_as_much_as_scikit_learns(rows, tmp_path):
    """No linear map of that rank explains more."""
    for latents in (2, 16, 2 * WIDTH):
        sae = loaded(baselines.make(Baseline("pca", latents), WIDTH, rows.split(100), ""), tmp_path)
        peer = PCA(latents // 2).fit(rows.double().numpy())
        assert explained(sae, rows) == pytest.approx(peer.explained_variance_ratio_.sum(), abs=1e-5)
        back = peer.inverse_transform(peer.transform(rows.double().numpy()))
        np.testing.assert_allclose(sae(rows).detach(), back, atol=1e-3)


def test_principal_components_are_those_of_training_text(imported, model, tokens):
    folder = imported(baseline={"kind": "pca", "latents": 8})
    learned = torch.cat(list(training_rows(model, tokens, 4)))
    peer = PCA(4).fit(learned.double().numpy())
    ours = load_dictionary(str(folder), device="cpu")[0]
    cosines = np.abs(peer.components_ @ ours.decoder.weight.detach().double().numpy()[:, :4]).diagonal()
    np.testing.assert_allclose(cosines, 1, atol=1e-4)
    np.testing.assert_allclose(ours.bias.detach(), learned.mean(0), atol=1e-5)


def test_raw_activations_are_reconstructed_exactly(imported, rows):
    folder = imported(baseline={"kind": "raw"})
    sae, _ = load_dictionary(str(folder), device="cpu")
    assert torch.equal(sae(rows), rows) and sae.dict_size == 2 * WIDTH
    assert torch.equal(sae.encode(rows)[:, :WIDTH], rows.relu())
    quality = json.loads((folder / "quality.json").read_text())
    assert quality["explained_variance"] == 1 and quality["l0"] == pytest.approx(WIDTH, abs=0.01)


def test_random_directions_keep_k_and_explain_less_than_principal_components(rows, tmp_path):
    pca = loaded(baselines.make(Baseline("pca", LATENTS, 8), WIDTH, [rows], ""), tmp_path / "pca")
    noise = loaded(baselines.make(Baseline("random", LATENTS, 8), WIDTH, [rows], ""), tmp_path / "random")
    for sae in (pca, noise):
        assert (sae.encode(rows) != 0).sum(1).max() <= 8
    assert explained(noise, rows) < explained(pca, rows)
    torch.testing.assert_close(noise.decoder.weight.norm(dim=0), torch.ones(LATENTS))


def test_more_components_than_dimensions_are_refused(rows):
    with pytest.raises(
        InputError, match=r"^saes: x: from.baseline.latents: 66 is more than both signs of 32 dimensions"
    ):
        baselines.make(Baseline("pca", 66), WIDTH, [rows], "saes: x: from.baseline")


def test_more_active_latents_than_components_are_refused_before_any_text_is_read():
    line = r"^saes: x: from.baseline.k: 65 is larger than the number of latents \(64\): lower it$"
    with pytest.raises(InputError, match=line):
        baselines.make(Baseline("pca", k=65), WIDTH, iter([]), "saes: x: from.baseline")


# Names


def test_a_path_says_which_sae_it_is_of():
    sae = Imported("run", "pythia", "theirs")
    assert sae_of(sae.folder / "scores" / "ood.json") == sae_of(sae.folder) == sae
    cell = Cell("run", "pythia", "clean", "topk", 8, 0)
    assert sae_of(Path("/elsewhere", cell.folder, "sae")) == cell
    assert Origin.from_plain({"folder": f"./{sae.folder}/sae/"}).folder == f"{sae.folder}/sae"
    with pytest.raises(ValueError, match="not in a cell's folder"):
        sae_of("results/run/pythia/oracle.json")
