"""What the stream reads is the residual stream that transformers and SAEBench's language model have."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from conftest import (
    COMPUTE,
    FAMILIES,
    LAYER,
    ROOT,
    folders,
    make_model,
    make_tokenizer,
    model_settings,
    train_settings,
)
from maskedsae.activations.language_models import LanguageModel, describe, read_facts, write_facts
from maskedsae.jobs.device import check_device
from maskedsae.jobs.errors import InputError
from maskedsae.saes.training import train_cells
from maskedsae.scores.saebench.language_model import hooked_transformer

PAPER = yaml.safe_load((ROOT / "config.yaml").read_text())
CLOSE = 1e-5  # relative: what float32 leaves over between two orders of summation


def relative_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


@pytest.fixture
def contexts() -> torch.Tensor:
    return torch.randint(3, 400, (3, 32), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_whole_models_hidden_state(family, layer, model_folders, facts, contexts):
    residual = LanguageModel(replace(facts[family], layer=layer), "float32", "cpu").residual(contexts)
    whole = AutoModelForCausalLM.from_pretrained(model_folders[family], dtype=torch.float32)
    with torch.no_grad():
        hidden = whole(input_ids=contexts, output_hidden_states=True).hidden_states[layer + 1]
    assert relative_difference(residual, hidden) < CLOSE


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_is_read_before_the_final_norm(family, model_folders, facts, contexts):
    residual = LanguageModel(replace(facts[family], layer=2), "float32", "cpu").residual(contexts)
    whole = AutoModelForCausalLM.from_pretrained(model_folders[family], dtype=torch.float32)
    seen = []
    whole.base_model.layers[2].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        whole(input_ids=contexts)
    output = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    assert relative_difference(residual, output) < CLOSE


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_saebenchs_language_model(family, model_folders, facts, contexts):
    """SAEBench reads blocks.L.hook_resid_post of a HookedTransformer."""
    residual = LanguageModel(facts[family], "float32", "cpu").residual(contexts)
    hooked = hooked_transformer(facts[family], "float32", bos=None)
    hook = f"blocks.{LAYER}.hook_resid_post"
    _, cache = hooked.run_with_cache(contexts, names_filter=hook, return_type=None)
    assert relative_difference(residual, cache[hook]) < CLOSE


# TF32. A CPU computes the same with it: what is tested is when torch is told to use it.


def settings_in_passes(model: LanguageModel) -> list[tuple[str, bool]]:
    """torch's newer and older setting in each forward pass from here on."""
    seen, matmul = [], torch.backends.cuda.matmul
    model._model.register_forward_pre_hook(lambda *_: seen.append((matmul.fp32_precision, matmul.allow_tf32)))
    return seen


@pytest.fixture(params=["none", "ieee", "older: off", "older: on"])
def setting(request):
    """What a process may have set before."""
    matmul = torch.backends.cuda.matmul
    if request.param.startswith("older"):
        matmul.allow_tf32 = request.param.endswith("on")
    else:
        matmul.fp32_precision = request.param
    yield matmul.fp32_precision, matmul.allow_tf32
    matmul.allow_tf32 = False
    matmul.fp32_precision = "none"


def test_tf32_is_for_one_forward_pass_if_it_is_asked_for(facts, contexts, setting):
    model = LanguageModel(facts["gpt_neox"], "float32", "cpu")
    seen, matmul = settings_in_passes(model), torch.backends.cuda.matmul
    exact = model.residual(contexts)
    assert torch.equal(model.residual(contexts, tf32=True), exact)
    model.residual(contexts)
    assert seen == [setting, ("tf32", True), setting]
    assert (matmul.fp32_precision, matmul.allow_tf32) == setting
    with pytest.raises(IndexError):
        model.residual(contexts + 10_000, tf32=True)
    assert (matmul.fp32_precision, matmul.allow_tf32) == setting


def test_tf32_set_the_newer_way_which_the_older_cannot_show_is_put_back(facts, contexts):
    model, matmul = LanguageModel(facts["gpt_neox"], "float32", "cpu"), torch.backends.cuda.matmul
    try:
        matmul.fp32_precision = "tf32"
        model.residual(contexts, tf32=True)
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.allow_tf32 = False
        matmul.fp32_precision = "none"


def test_an_sae_is_trained_on_tf32_and_measured_without(facts, tokens_folders, tmp_path, monkeypatch):
    passes, residual = [], LanguageModel.residual

    def spy(model, tokens, tf32=False):
        passes.append(tf32)
        return residual(model, tokens, tf32)

    monkeypatch.setattr(LanguageModel, "residual", spy)
    settings = train_settings()
    for tf32 in (False, True):
        passes.clear()
        asked = replace(settings, model=replace(settings.model, tf32=tf32))
        manifest = tokens_folders["gpt_neox"] / "manifest.json"
        train_cells(folders(tmp_path / str(tf32), 8), asked, facts["gpt_neox"], manifest, COMPUTE)
        # 4 contexts in a pass: 11 batches for the norm are 3 blocks of 10, 100 are 20 such; 20 contexts are held out.
        assert passes == [tf32] * (3 + 20) * 3 + [False] * 5


def test_facts(facts):
    assert facts["gpt_neox"].bos is False and facts["gemma2"].bos is True
    assert facts["gpt_neox"].special_ids == (0,) and facts["gemma2"].special_ids == (0, 1, 2)
    assert facts["gemma2"].width == 32 and facts["gemma2"].layers == 3


def test_facts_are_read_back_as_they_were_written(facts, model_folders, tmp_path):
    write_facts(tmp_path / "model.json", model_settings("gemma2", model_folders["gemma2"]))
    assert read_facts(tmp_path / "model.json") == facts["gemma2"]


def refused(family, folder, **changes) -> str:
    with pytest.raises(InputError) as error:
        describe(model_settings(family, folder, **changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_layer_beyond_the_model_is_refused(model_folders):
    assert "layer 3 is beyond the model, whose layers are 0 to 2" in refused(
        "gpt_neox", model_folders["gpt_neox"], layer=3
    )


def test_a_mask_of_several_tokens_is_refused(model_folders):
    message = refused("gpt_neox", model_folders["gpt_neox"], mask="masked away")
    assert "'masked away' is" in message and "one token" in message


def test_contexts_longer_than_the_model_reads_are_refused(model_folders):
    assert "tokens.context_length: 65" in refused("gemma2", model_folders["gemma2"], context_length=65)


def test_a_directory_without_tokenizer_is_refused(model_folders, tmp_path):
    shutil.copytree(model_folders["gpt_neox"], tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink()
    assert "has no tokenizer" in refused("gpt_neox", tmp_path / "model")


def test_a_directory_without_a_model_is_refused(tmp_path):
    assert "config.json is missing" in refused("gpt_neox", tmp_path)
    assert "config.json is missing" in refused("gpt_neox", tmp_path / "nowhere")


def test_truncated_weights_are_named(model_folders, facts, tmp_path):
    shutil.copytree(model_folders["gpt_neox"], tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="tiny-gpt_neox"):
        LanguageModel(replace(facts["gpt_neox"], path=str(tmp_path / "model")), "float32", "cpu")


def test_a_hub_model_that_cannot_be_fetched_says_what_to_do():
    entry = model_settings("gpt_neox", "unused", hub="nobody/nothing", path=None)
    with pytest.raises(
        InputError, match="tiny-gpt_neox: hub: nobody/nothing is not on this machine, and HF_HUB_OFFLINE"
    ):
        describe(entry)


def test_a_gpu_where_there_is_none_is_refused():
    if torch.cuda.is_available():
        check_device("cuda", "bfloat16")
        return
    with pytest.raises(InputError, match=r"compute\.device: cuda asks for a GPU"):
        check_device("cuda", "bfloat16")


def test_bfloat16_on_a_cpu_is_refused():
    with pytest.raises(InputError, match=r"training\.autocast: bfloat16 needs a GPU"):
        check_device("cpu", "bfloat16")


def test_missing_weights_are_an_error_and_not_made_up(model_folders, facts, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(model_folders["gpt_neox"], tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    del weights["gpt_neox.layers.1.mlp.dense_h_to_4h.weight"]
    save_file(weights, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"lacks weights \(layers\.1\.mlp"):
        LanguageModel(replace(facts["gpt_neox"], path=str(tmp_path / "model")), "float32", "cpu")


# The paper's own entries, through the hub client's real code: a cache that holds tiny models under their names.

HUB = """
import sys
from pathlib import Path
import yaml
from maskedsae.activations.language_models import LanguageModel, read_facts, tokenizer_of, write_facts
from maskedsae.activations.settings import ModelSettings
from maskedsae.experiment.checks import check
from maskedsae.experiment.settings import model_settings
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.params import settings_of, spelled_out
config, name, revision, to = sys.argv[1:]
raw = yaml.safe_load(Path(config).read_text())
for model in raw["models"]:
    model["revision"] = revision or None
settings = settings_of(ModelSettings, spelled_out(model_settings(check(raw), name)))  # as the rule's job has them
try:
    write_facts(to, settings)
except InputError as error:
    sys.exit(str(error))
facts = read_facts(to)
print(facts.commit, LanguageModel(facts, "float32", "cpu").width, len(tokenizer_of(facts)))
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached(home: Path, repository: str, model, tokenizer, revision: str) -> None:
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / revision).write_text(COMMIT)
    model.save_pretrained(folder / "snapshots" / COMMIT)
    tokenizer.save_pretrained(folder / "snapshots" / COMMIT)


@pytest.mark.parametrize(("name", "family"), [("pythia-160m-deduped", "gpt_neox"), ("gemma-2-2b", "gemma2")])
@pytest.mark.parametrize("revision", ["", "step1000"])
def test_the_papers_models_are_fetched_at_their_revision_and_loaded_from_that_commit(name, family, revision, tmp_path):
    entry = next(model for model in PAPER["models"] if model["name"] == name)
    tokenizer = make_tokenizer(family)
    model = make_model(family, len(tokenizer), num_hidden_layers=entry["layer"] + 2, max_position_embeddings=1024)
    cached(tmp_path, entry["hub"], model, tokenizer, revision or "main")
    command = [sys.executable, "-c", HUB, str(ROOT / "config.yaml"), name]
    offline = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = partial(subprocess.run, env=offline, capture_output=True, text=True, check=False)
    done = run([*command, revision, str(tmp_path / "model.json")])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [COMMIT, "32", str(len(tokenizer))]
    facts = json.loads((tmp_path / "model.json").read_text())
    assert (facts["hub"], facts["commit"], facts["layer"]) == (entry["hub"], COMMIT, entry["layer"])
    other = run([*command, "no-such-revision", str(tmp_path / "other.json")])
    assert f"models: {name}: hub: {entry['hub']} is not on this machine" in other.stderr
    assert not (tmp_path / "other.json").exists()
