"""SAEBench's language model: transformer-lens' own, with exactly the weights that the stream used, unprocessed."""

import logging
from typing import Any

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens import loading_from_pretrained as loading
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import transformers as bridges
from transformer_lens.pretrained.weight_conversions.gemma import convert_gemma_weights
from transformer_lens.pretrained.weight_conversions.neox import convert_neox_weights
from transformers import AutoConfig, AutoModelForCausalLM

from ...activations.language_models import (
    blocks_of,
    from_pretrained,
    load_tokenizer,
    output_of,
    snapshot,
    with_all_weights,
)
from ...activations.settings import ModelFacts
from ...jobs.errors import InputError, first_line

# transformer-lens calls logging.info, which gives the root logger a handler if it has none: each line came twice.
logging.getLogger().addHandler(logging.NullHandler())

CONVERTED = ("gpt_neox", "gemma2")  # the paper's: so their scores stay what they are, bit for bit


class Bridge(TransformerBridge):
    """With a HookedTransformer's calls."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """SAEBench checks the type of its model."""
        return HookedTransformer

    def forward(self, input: Any, *given: Any, **options: Any) -> Any:
        """A HookedTransformer takes token ids from any device."""
        if isinstance(input, torch.Tensor):
            input = input.to(self.cfg.device)
        return TransformerBridge.forward(self, input, *given, **options)


def hooked_transformer(facts: ModelFacts, dtype: str, bos: bool | None = None) -> HookedTransformer:
    """On the CPU, without asking for a GPU. `bos`: whether prompts given as text start with BOS (None: as
    transformer-lens has it for the family).

    All processing is off: transformer-lens' own `from_pretrained` centres and folds weights, so the SAE would be
    evaluated on another model than it was trained on.
    """
    check_known(facts)
    whole = with_all_weights(AutoModelForCausalLM, facts.name, snapshot(facts), dtype).eval().requires_grad_(False)
    make = converted if facts.family in CONVERTED else bridged
    return make(facts, whole, dtype, bos).eval().requires_grad_(False)


def check_known(facts: ModelFacts) -> None:
    """A model of the paper's two families is converted; any other is bridged, if transformer-lens knows how.

    Not one that also reads pictures: for it, transformer-lens 3.9 would install torchvision with pip.
    """
    if facts.family in CONVERTED:
        return
    config = from_pretrained(AutoConfig, facts.name, snapshot(facts))
    try:
        family = bridges.determine_architecture_from_hf_config(config)
        known = bridges.get_hf_model_class_for_architecture(family) is AutoModelForCausalLM
    except ValueError:
        known = False
    if not known:
        raise _not_for_saebench(facts, f"takes no {config.model_type} models")


def _not_for_saebench(facts: ModelFacts, why: str) -> InputError:
    return InputError(
        f"models: {facts.name}: transformer-lens, through which SAEBench reads a language model, {why}: set "
        "saebench.evals to [] (SAEs are trained and probed all the same; docs/saebench.md), or choose another model"
    )


def bridged(facts: ModelFacts, whole: Any, dtype: str, bos: bool | None) -> Any:
    """transformers' own modules with transformer-lens' hooks, after a look at what they give."""
    few = torch.arange(8)[None]
    seen: list[torch.Tensor] = []
    block = blocks_of(facts.name, whole, facts.layers)[facts.layer]
    hook = block.register_forward_hook(lambda _, __, output: seen.append(output_of(output)))
    logits = whole(input_ids=few, use_cache=False).logits
    hook.remove()
    try:
        model = TransformerBridge.boot_transformers(
            snapshot(facts),
            hf_model=whole,
            tokenizer=load_tokenizer(facts.name, snapshot(facts)),
            dtype=getattr(torch, dtype),
            device="cpu",
            hf_config_overrides={"device": "cpu"},  # else transformer-lens' configuration asks for a GPU
        )
        found, cache = model.run_with_cache(few, names_filter=[facts.hook])
    except Exception as error:
        raise _not_for_saebench(facts, f"cannot take it ({type(error).__name__}: {first_line(error)})") from error
    for ours, theirs in ((seen[0], cache[facts.hook]), (logits, found)):
        # sqrt(eps) is 3e-4 in float32, where 3e-7 was found, and 9% in bfloat16, where it was up to 3%.
        if not (ours - theirs).float().norm() <= torch.finfo(ours.dtype).eps ** 0.5 * ours.float().norm():
            raise _not_for_saebench(facts, "computes something else than transformers")
    model.__class__ = Bridge
    model.cfg.model_name = facts.name  # SAEBench makes folders of it, so never a path
    if bos is not None:
        model.cfg.default_prepend_bos = bos
    return model


def converted(facts: ModelFacts, whole: Any, dtype: str, bos: bool | None) -> HookedTransformer:
    folder = snapshot(facts)
    if facts.family == "gpt_neox":
        config = loading.get_pretrained_model_config(folder, device="cpu")
        state = convert_neox_weights(whole, config)
    else:
        config = gemma2_config(whole.config)
        state = convert_gemma_weights(whole, config)
    config.dtype = getattr(torch, dtype)
    config.model_name = facts.name  # SAEBench makes folders of it, so never a path
    if bos is not None:
        config.default_prepend_bos = bos
    model = HookedTransformer(config, tokenizer=load_tokenizer(facts.name, folder))
    model.load_and_process_state_dict(
        state,
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
        refactor_factored_attn_matrices=False,
    )
    return model


def gemma2_config(small: Any) -> HookedTransformerConfig:
    """transformer-lens knows Gemma-2-2B by name only: its configuration, with this model's sizes."""
    known = loading.get_pretrained_model_config("google/gemma-2-2b", device="cpu").to_dict()
    sizes = {
        "d_model": small.hidden_size,
        "d_head": small.head_dim,
        "n_heads": small.num_attention_heads,
        "n_key_value_heads": small.num_key_value_heads,
        "d_mlp": small.intermediate_size,
        "n_layers": small.num_hidden_layers,
        "n_ctx": small.max_position_embeddings,
        "d_vocab": small.vocab_size,
        "d_vocab_out": small.vocab_size,
        "eps": small.rms_norm_eps,
        "window_size": small.sliding_window,
        "attn_types": ["local" if kind == "sliding_attention" else "global" for kind in small.layer_types],
        "attn_scale": small.query_pre_attn_scalar**0.5,
        "attn_scores_soft_cap": small.attn_logit_softcapping or -1.0,
        "output_logits_soft_cap": small.final_logit_softcapping or -1.0,
        "rotary_dim": small.head_dim,
        "tokenizer_name": None,
    }
    return HookedTransformerConfig.from_dict(known | sizes)
