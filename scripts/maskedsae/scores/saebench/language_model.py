"""SAEBench's language model: a HookedTransformer with exactly the weights that the stream used, unprocessed."""

import logging
from typing import Any

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens import loading_from_pretrained as loading
from transformer_lens.pretrained.weight_conversions.gemma import convert_gemma_weights
from transformer_lens.pretrained.weight_conversions.neox import convert_neox_weights
from transformers import AutoModelForCausalLM

from ...activations.language_models import load_tokenizer, snapshot, with_all_weights
from ...activations.settings import ModelFacts

# transformer-lens calls logging.info, which gives the root logger a handler if it has none: each line came twice.
logging.getLogger().addHandler(logging.NullHandler())


def hooked_transformer(facts: ModelFacts, dtype: str, bos: bool | None = None) -> HookedTransformer:
    """On the CPU, without asking for a GPU. `bos`: whether prompts given as text start with BOS (None: as
    transformer-lens has it for the family).

    All processing is off: transformer-lens' own `from_pretrained` centres and folds weights, so the SAE would be
    evaluated on another model than it was trained on.
    """
    folder = snapshot(facts)
    whole = with_all_weights(AutoModelForCausalLM, facts.name, folder, dtype)
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
    return model.eval().requires_grad_(False)


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
