"""SAEBench's language model, a HookedTransformer, with the weights of a local Hugging Face directory, unprocessed."""

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens import loading_from_pretrained as loading
from transformer_lens.pretrained.weight_conversions import convert_gemma_weights, convert_neox_weights
from transformers import AutoModelForCausalLM, AutoTokenizer


def hooked_transformer(folder) -> HookedTransformer:
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if whole.config.model_type == "gpt_neox":
        config = loading.get_pretrained_model_config(str(folder))
        state = convert_neox_weights(whole, config)
    else:
        config = gemma2_config(whole.config)
        state = convert_gemma_weights(whole, config)
    config.device, config.dtype, config.model_name = "cpu", torch.float32, f"local-{whole.config.model_type}"
    hooked = HookedTransformer(config, tokenizer=AutoTokenizer.from_pretrained(folder))
    hooked.load_and_process_state_dict(
        state,
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
        refactor_factored_attn_matrices=False,
    )
    return hooked.eval()


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
        "window_size": small.sliding_window,
        "attn_types": ["local" if kind == "sliding_attention" else "global" for kind in small.layer_types],
        "attn_scale": small.query_pre_attn_scalar**0.5,
        "rotary_dim": small.head_dim,
        "tokenizer_name": None,
    }
    return HookedTransformerConfig.from_dict(known | sizes)
