"""Language models of the paper's two shapes with random weights, made on the spot."""

from typing import Any

import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from maskedsae.world.architectures import scale_residual_stream, share_letters
from maskedsae.world.language_model import RESIDUAL_RMS, residual_rms
from maskedsae.world.spelling import Speller

FAMILIES = {"pythia-shape": "gpt_neox", "gemma-shape": "gemma2"}
VOCABULARY = {"full": 4_096, "small": 2_048}  # of the tokenizers; the models have more, as Pythia and Gemma-2 do

SPREAD = 0.55  # of the first weights, times the root of the width: 0.02, the family's default, at Pythia's 768
EMBEDDING_SPREAD = 0.03  # of a token's own part of its embedding; the part that an initial shares has 0.045

# Pythia-160M's and Gemma-2-2B's own numbers, but for Gemma's layers: 13 are read, and one of the 13 others is enough.
SIZES: dict[str, dict[str, dict[str, int]]] = {
    "pythia-shape": {
        "full": {
            "vocab_size": 50_304,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 2048,
        },
        "small": {
            "vocab_size": 2_112,
            "hidden_size": 96,
            "intermediate_size": 384,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 256,
        },
    },
    "gemma-shape": {
        "full": {
            "vocab_size": 256_000,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 14,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "query_pre_attn_scalar": 256,
            "sliding_window": 4096,
            "max_position_embeddings": 8192,
        },
        "small": {
            "vocab_size": 2_112,
            "hidden_size": 96,
            "intermediate_size": 288,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "query_pre_attn_scalar": 24,
            "sliding_window": 64,
            "max_position_embeddings": 256,
        },
    },
}


def make_model(name: str, tokenizer: PreTrainedTokenizerFast, size: str, dtype: str, device: str) -> Any:
    """Made where it will run: 1.7 billion random numbers take a while on a CPU."""
    given: dict[str, Any] = SIZES[name][size] | {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    torch.manual_seed(0)
    with torch.device(device), torch.no_grad():
        if FAMILIES[name] == "gemma2":
            config = Gemma2Config(**given, pad_token_id=tokenizer.pad_token_id)
            return Gemma2ForCausalLM._from_config(config, dtype=getattr(torch, dtype))
        given["initializer_range"] = SPREAD / given["hidden_size"] ** 0.5
        model = GPTNeoXForCausalLM._from_config(GPTNeoXConfig(**given), dtype=getattr(torch, dtype))
        spell(model, tokenizer)
        return model.eval()


def spell(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give an untrained model the first-letter directions that SAEBench's absorption needs.

    Its blocks add about a third of their input's size each; the embeddings, with a part that words of one initial
    share, are scaled up to a size of 1, so that they are still half of what layer 8 holds.
    """
    embeddings = model.get_input_embeddings().weight
    embeddings.normal_(std=EMBEDDING_SPREAD)
    share_letters(model, Speller(tokenizer).ids_by_letter)
    embeddings /= embeddings.std()
    ids = torch.randint(len(tokenizer), (4, 64))
    scale_residual_stream(model, RESIDUAL_RMS / residual_rms(model, ids))
