"""GPT-NeoX and Gemma-2 in miniature: configuration, first weights and the scale of the residual stream."""

from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..jobs.errors import InputError
from .settings import LONGEST_CONTEXT

# Standard deviation of the first weights. With 0.02, both families' default, the demo's models end at 5.66 nats/token
# on held-out text, with 0.06 at 5.45 (GPT-NeoX) and 5.48 (Gemma-2); and GPT-NeoX has 16 letters, too few for SAEBench.
INITIAL_SPREAD = 0.06
LETTER_SPREAD = 0.045  # standard deviation of the part that words with the same initial share


def build_model(
    family: str, tokenizer: PreTrainedTokenizerBase, layers: int, width: int, heads: int, context: int
) -> PreTrainedModel:
    """An untrained model of `family` in float32; torch's seed decides the weights."""
    if width % heads:
        raise InputError(f"heads: {heads} does not divide the width {width}")
    common = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "initializer_range": INITIAL_SPREAD,
        "max_position_embeddings": LONGEST_CONTEXT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    if family == "gpt_neox":  # as Pythia: parallel residual, rotary on a quarter of each head, untied embeddings
        return GPTNeoXForCausalLM(GPTNeoXConfig(**common, intermediate_size=4 * width))
    if family == "gemma2":  # as Gemma-2: grouped queries, sliding and full layers in turn, soft caps, tied embeddings
        config = Gemma2Config(
            **common,
            pad_token_id=tokenizer.pad_token_id,
            intermediate_size=3 * width,
            num_key_value_heads=max(1, heads // 2),
            head_dim=width // heads,
            query_pre_attn_scalar=width // heads,
            sliding_window=context // 2,
        )
        # Only eager attention computes the soft cap.
        model: PreTrainedModel = Gemma2ForCausalLM._from_config(config, attn_implementation="eager")
        return model
    raise InputError(f"family: {family!r} is unknown: choose gpt_neox or gemma2")


@torch.no_grad()
def share_letters(model: Any, ids_by_letter: list[list[int]]) -> None:
    """Give the embeddings of words with the same initial a common part, before training.

    SAEBench's absorption eval presupposes a linear first-letter direction. Models of 2B parameters have one; these,
    trained for a minute, do not. Without this the demo's models do not learn the task (1.8 to 3.0 nats per letter;
    guessing costs 3.3) and at most one letter passes SAEBench's bar of F1 0.6; with it 24 to 26 do, and 20 are needed.
    So the demo shows that the machinery works; it says nothing about how models spell.
    """
    embeddings = model.get_input_embeddings().weight
    for ids in ids_by_letter:
        embeddings[ids] += LETTER_SPREAD * torch.randn(model.config.hidden_size)


@torch.no_grad()
def scale_residual_stream(model: Any, factor: float) -> None:
    """Multiply everything that is written to the residual stream.

    The norms that read it undo that, so predictions stay the same, except for the epsilon that norms add. SAEBench
    trains its letter probes for a fixed number of steps at a fixed rate, and underfits small activations.
    """
    if model.config.model_type == "gpt_neox":
        model.gpt_neox.embed_in.weight *= factor
        for layer in model.gpt_neox.layers:
            for writer in (layer.attention.dense, layer.mlp.dense_4h_to_h):
                writer.weight *= factor
                writer.bias *= factor
        return
    model.model.embed_tokens.weight *= factor
    for layer in model.model.layers:
        for norm in (layer.post_attention_layernorm, layer.post_feedforward_layernorm):
            norm.weight.copy_((1 + norm.weight) * factor - 1)  # Gemma's norms multiply by 1 + weight
    # The output matrix is the scaled embedding itself.
    model.model.norm.weight.copy_((1 + model.model.norm.weight) / factor - 1)
