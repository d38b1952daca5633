"""Families that nothing in the library names, each as a tiny random model, from the residual stream to the scores."""

import shutil
import sys
from dataclasses import replace
from math import isfinite
from pathlib import Path

import pytest
import torch
from torch import nn
from transformer_lens import HookedTransformer
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from conftest import COMPUTE, LAYER, a_cell, model_settings, train_settings
from maskedsae.activations.language_models import LanguageModel, blocks_of, check_blocks, describe, longest_text
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import read_json
from maskedsae.saes.training import train_cells
from maskedsae.scores.ood.last_tokens import last_residuals
from maskedsae.scores.saebench import language_model
from maskedsae.scores.saebench.language_model import check_known, hooked_transformer
from maskedsae.scores.saebench.recorded import RecordedCalls
from maskedsae.text.tokens import Tokens

NAMED = ("gpt2", "gemma", "gemma3_text", "llama", "mistral", "olmo", "olmo2", "phi", "qwen2", "qwen3")
OTHERS = ("bloom", "granite", "mixtral", "opt", "stablelm")
SIZES = {
    "vocab_size": 500,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    # Where a family has a window, contexts of 32 tokens are longer.
    "sliding_window": 8,
    "use_sliding_window": True,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
CLOSE = 1e-5  # float32 rounds other sums in other kernels; relative, found: up to 3e-7


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def tiny_config(kind: str):
    known = AutoConfig.for_model(kind)
    fixed = [key for key in SIZES if isinstance(getattr(type(known), key, None), property)]
    sizes = {key: value for key, value in SIZES.items() if hasattr(known, key) and key not in fixed}
    return AutoConfig.for_model(kind, **sizes, bos_token_id=0, eos_token_id=0, pad_token_id=0)


def tiny_config_with_pictures():
    """Gemma 3's from 4B on."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = sizes | {"image_size": 28, "patch_size": 14}
    text = tiny_config("gemma3_text").to_dict()
    return AutoConfig.for_model("gemma3", text_config=text, vision_config=vision, mm_tokens_per_image=4)


def write_tiny(kind: str, folder: Path, tokenizer: Path) -> Path:
    return write_model(tiny_config(kind), folder, tokenizer)


def write_model(config, folder: Path, tokenizer: Path) -> Path:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # norms and biases begin as ones and zeros: a mix-up would not be seen
            parameter.data += 0.1 * torch.randn_like(parameter)
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=(*NAMED, *OTHERS))
def folder(request, model_folders, tmp_path_factory) -> Path:
    return write_tiny(request.param, tmp_path_factory.mktemp(request.param), model_folders["gpt_neox"])


@pytest.fixture(scope="module")
def tiny(folder):
    """Its model.json."""
    return describe(model_settings("gpt_neox", folder))


@pytest.fixture(scope="module")
def contexts() -> torch.Tensor:
    return torch.randint(3, 400, (3, 32), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def whole(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def hidden(whole, contexts) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return whole(input_ids=contexts, output_hidden_states=True).hidden_states


def test_the_stream_is_the_whole_models_hidden_state_and_before_the_final_norm(tiny, whole, contexts, hidden):
    seen: list[torch.Tensor] = []
    blocks = max((part for part in whole.modules() if isinstance(part, nn.ModuleList)), key=len)
    hook = blocks[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        whole(input_ids=contexts)
    hook.remove()
    last = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    for layer, expected in enumerate((*hidden[1:-1], last)):
        residual = LanguageModel(replace(tiny, layer=layer), "float32", "cpu").residual(contexts)
        assert relative_difference(residual, expected) < CLOSE, layer


def test_saebenchs_language_model_is_the_whole_model(tiny, whole, contexts, hidden):
    model = hooked_transformer(tiny, "float32", bos=True)
    logits, cache = model.run_with_cache(contexts, names_filter=[tiny.hook])
    assert relative_difference(cache[tiny.hook], hidden[LAYER + 1]) < CLOSE
    with torch.no_grad():
        assert relative_difference(logits, whole(input_ids=contexts).logits) < CLOSE
    assert isinstance(model, HookedTransformer) and model.cfg.model_name == tiny.name
    starts = [int(model.to_tokens("the first", prepend_bos=bos)[0, 0]) for bos in (None, False)]
    assert starts[0] == model.tokenizer.bos_token_id != starts[1]


def test_an_sae_is_trained_on_it_and_its_last_tokens_are_probed(tiny, whole, tokens_folders, tmp_path):
    folder, cell = tokens_folders["gpt_neox"], a_cell(8)
    train_cells({cell: tmp_path}, train_settings(tokens=2560), tiny, folder / "manifest.json", COMPUTE)
    quality = read_json(tmp_path / "sae" / "quality.json")
    assert quality["l0"] > 0 and isfinite(quality["explained_variance"])
    context = Tokens.open(folder).heldout(0, 1)[0].tolist()
    with torch.no_grad():
        states = whole(input_ids=torch.tensor([context]), output_hidden_states=True).hidden_states
    (found,) = last_residuals(LanguageModel(tiny, "float32", "cpu"), [context], batch_tokens=64)
    assert relative_difference(found, states[LAYER + 1][0, -1]) < CLOSE


# A bridge, as SAEBench uses it; and what cannot be used, which is one clear line.


@pytest.fixture(scope="module")
def llama(model_folders, tmp_path_factory):
    folder = write_tiny("llama", tmp_path_factory.mktemp("bridged"), model_folders["gpt_neox"])
    return describe(model_settings("gpt_neox", folder))


def test_a_family_that_transformer_lens_does_not_know_is_read_and_not_scored(model_folders, contexts, tmp_path):
    facts = describe(model_settings("gpt_neox", write_tiny("helium", tmp_path / "model", model_folders["gpt_neox"])))
    assert LanguageModel(facts, "float32", "cpu").residual(contexts).isfinite().all()
    for refusing in (check_known, lambda facts: hooked_transformer(facts, "float32")):
        with pytest.raises(InputError) as error:
            refusing(facts)
        assert str(error.value) == (
            "models: tiny-gpt_neox: transformer-lens, through which SAEBench reads a language model, takes no helium "
            "models: set saebench.evals to [] (SAEs are trained and probed all the same; docs/saebench.md), or choose "
            "another model"
        )


def test_the_text_part_of_a_model_that_also_reads_pictures_is_read_and_not_scored(model_folders, contexts, tmp_path):
    folder = write_model(tiny_config_with_pictures(), tmp_path / "model", model_folders["gpt_neox"])
    facts = describe(model_settings("gpt_neox", folder))
    whole = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        states = whole(input_ids=contexts, output_hidden_states=True).hidden_states
    residual = LanguageModel(facts, "float32", "cpu").residual(contexts)
    assert relative_difference(residual, states[LAYER + 1]) < CLOSE
    with pytest.raises(InputError, match="takes no gemma3 models"):
        check_known(facts)


def test_a_bridge_that_computes_something_else_is_refused(llama, monkeypatch):
    monkeypatch.setattr(language_model, "output_of", lambda output: output * 1.001)
    with pytest.raises(InputError, match=r"tiny-gpt_neox: .* computes something else than transformers"):
        hooked_transformer(llama, "float32")


def test_core_asks_a_bridge_for_the_same_with_recorded_activations(llama, contexts, tmp_path):
    """Logits and losses as they are, with the hook's activations changed, and with zeros."""
    to_the_hook = {"names_filter": [llama.hook], "stop_at_layer": LAYER + 1}

    def asked(model) -> list[torch.Tensor]:
        options = {"return_type": "both", "loss_per_token": True}
        hooks = [lambda x, hook: x.roll(1, 0) * 2, lambda x, hook: torch.zeros_like(x)]
        replaced = [model.run_with_hooks(contexts, fwd_hooks=[(llama.hook, hook)], **options) for hook in hooks]
        both = [tensor for pair in (model(contexts, **options), *replaced) for tensor in pair]
        return [*both, model.run_with_cache(contexts, **to_the_hook)[1][llama.hook]]

    plain, first, second = (hooked_transformer(llama, "float32", True) for _ in range(3))
    expected = asked(plain)
    recording = RecordedCalls(first, tmp_path / "calls", LAYER, record=True)
    assert all(map(torch.equal, asked(first), expected))
    recording.close()
    reading = RecordedCalls(second, tmp_path / "calls", LAYER)
    assert all(map(torch.equal, asked(second), expected))
    assert (reading.hits, reading.misses) == (1, 0)


def test_a_bridge_takes_tokens_from_another_device(llama, contexts, monkeypatch):
    """As a HookedTransformer does; the device is one that a CPU build has too."""
    model = hooked_transformer(llama, "float32")
    monkeypatch.setattr(TransformerBridge, "forward", lambda self, input, **options: input.device.type)
    model.cfg.device = "meta"
    assert model(contexts) == model.run_with_hooks(contexts, fwd_hooks=[]) == "meta"


class TwoLists(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = (nn.ModuleList(nn.Linear(2, 2) for _ in range(3)) for _ in range(2))


def test_a_model_with_two_lists_of_blocks_is_refused():
    with pytest.raises(InputError, match=r"TwoLists has 2 lists of 3 blocks \(encoder, decoder\)"):
        blocks_of("two", TwoLists(), 3)


def checked(model: nn.Module) -> None:
    check_blocks("it", model.eval(), blocks_of("it", model, 3))


def test_blocks_whose_outputs_are_not_the_hidden_states_are_refused():
    """Mamba's hidden states start behind its first block, so "after layer L" would be two things."""
    with pytest.raises(InputError, match="it: what the blocks of MambaModel give is not what transformers calls"):
        checked(AutoModel.from_config(tiny_config("mamba")))


def test_a_model_that_reads_what_comes_later_is_refused():
    with pytest.raises(InputError, match="it: BertModel also reads what comes after a token: choose a decoder, which"):
        checked(AutoModel.from_config(tiny_config("bert")))


def test_a_family_without_positions_reads_any_length(model_folders, tmp_path):
    folder = write_tiny("bloom", tmp_path / "model", model_folders["gpt_neox"])
    assert longest_text(describe(model_settings("gpt_neox", folder, context_length=100_000))) == sys.maxsize
