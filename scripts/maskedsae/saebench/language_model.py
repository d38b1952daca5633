"""SAEBench's language model, a HookedTransformer, with just the weights that the stream used, unprocessed."""

import logging

import torch
from safetensors import SafetensorError
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens import loading_from_pretrained as loading
from transformer_lens.pretrained.weight_conversions import convert_gemma_weights, convert_neox_weights
from transformers import AutoModelForCausalLM

from ..errors import InputError
from ..models import load_tokenizer

# transformer-lens calls logging.info, which gives the root logger a handler where it has none: each line came twice.
logging.getLogger().addHandler(logging.NullHandler())


def hooked_transformer(facts: dict, dtype: str, bos: bool | None) -> HookedTransformer:
    """On the CPU. `facts` is model.json; `bos`: whether prompts given as text start with BOS (None: transformer-lens
    decides by family).

    Every kind of processing stays off: transformer-lens' own `from_pretrained` centres and folds weights, so that what
    is evaluated would not be what was trained on.
    """
    folder = model_folder(facts)
    whole = with_all_weights(facts, folder, dtype)
    if facts["family"] == "gpt_neox":
        config = loading.get_pretrained_model_config(folder)
        state = convert_neox_weights(whole, config)
    else:
        config = gemma2_config(whole.config)
        state = convert_gemma_weights(whole, config)
    config.device, config.dtype = "cpu", getattr(torch, dtype)
    config.model_name = facts["name"]  # SAEBench makes folders of it, so never a path
    if bos is not None:
        config.default_prepend_bos = bos
    model = HookedTransformer(config, tokenizer=load_tokenizer(facts["name"], folder, None))
    model.load_and_process_state_dict(
        state,
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
        refactor_factored_attn_matrices=False,
    )
    return model.eval().requires_grad_(False)


def with_all_weights(facts: dict, folder: str, dtype: str):
    options = {"dtype": getattr(torch, dtype), "output_loading_info": True}
    try:
        whole, loaded = AutoModelForCausalLM.from_pretrained(folder, **options)
    except (OSError, ValueError, SafetensorError) as error:
        line = str(error).strip().splitlines()[0]
        raise InputError(f"models: {facts['name']}: transformers cannot load {folder}: {line}") from error
    if missing := sorted(loaded["missing_keys"]):  # it would make them up, the unembedding for one
        raise InputError(f"models: {facts['name']}: {folder} lacks weights ({missing[0]}, …): fetch or make it again")
    return whole


def model_folder(facts: dict) -> str:
    """Of a hub model: its snapshot on this machine, which rule `model` fetched."""
    if facts["path"]:
        return facts["path"]
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(facts["hub"], revision=facts["commit"], local_files_only=True)
    except Exception as error:
        raise InputError(
            f"models: {facts['name']}: {facts['hub']} at {facts['commit']} is not on this machine: remove its "
            "model.json and give the same command where the network is, so that it is fetched again (HF_HOME must be "
            "a folder that both see)"
        ) from error


def gemma2_config(small) -> HookedTransformerConfig:
    """transformer-lens knows Gemma-2-2B by name only: its configuration, with this model's sizes."""
    known = loading.get_pretrained_model_config("google/gemma-2-2b").to_dict()
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
