"""A trained SAE on disk, in the formats of the libraries that load it, with checksums.

ae.pt, config.json                  dictionary_learning's `load_dictionary`
cfg.json, sae_weights.safetensors   SAELens' `SAE.load_from_disk`
SHA256SUMS                          of these four, as `sha256sum --check` reads them
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from ..jobs.files import sha256, write_bytes, write_json
from .checkpoints import to_bytes

Weights = dict[str, torch.Tensor]

FILES = ("ae.pt", "config.json", "cfg.json", "sae_weights.safetensors")

# Some of dictionary_learning's classes name weights as SAELens and SAEBench do; the others have linear layers, whose
# matrices are transposed. `bias` is AutoEncoder's, `decoder_bias` and `mag_bias` are GatedAutoEncoder's.
PLAIN_KEYS = {
    **{"encoder.weight": "W_enc", "encoder.bias": "b_enc", "decoder.weight": "W_dec"},
    **{"bias": "b_dec", "decoder_bias": "b_dec", "mag_bias": "b_mag"},
}

# SAELens' names for dictionary_learning's classes; the others, with their threshold, compute what its JumpReLU does.
SAELENS_ARCHITECTURES = {"AutoEncoder": "standard", "GatedAutoEncoder": "gated", "AutoEncoderTopK": "topk"}


def write(
    folder: Path, weights: Weights, trainer_config: dict[str, Any], stream_config: dict[str, Any], hook: str
) -> None:
    """`weights` is dictionary_learning's state dict, with the normalisation folded in."""
    write_bytes(folder / "ae.pt", to_bytes(weights))
    write_json(folder / "config.json", {"trainer": trainer_config, "buffer": stream_config})
    config, tensors = to_saelens(weights, trainer_config, stream_config, hook)
    write_json(folder / "cfg.json", config)
    write_bytes(folder / "sae_weights.safetensors", save(tensors))
    sums = "".join(f"{sha256(folder / name)}  {name}\n" for name in FILES)
    write_bytes(folder / "SHA256SUMS", sums.encode())


def plain_weights(weights: Weights) -> Weights:
    """As SAEBench names them: W_enc (width x latents), b_enc, W_dec (latents x width), b_dec, and the class's own
    buffers. A gated SAE has r_mag, b_mag and gate_bias in place of b_enc."""
    plain = {PLAIN_KEYS.get(key, key): value for key, value in weights.items()}
    if "encoder.weight" in weights:
        plain |= {key: plain[key].T.contiguous() for key in ("W_enc", "W_dec")}
    return plain


def to_saelens(
    weights: Weights, trainer_config: dict[str, Any], stream_config: dict[str, Any], hook: str
) -> tuple[dict[str, Any], Weights]:
    """SAELens' configuration and tensors."""
    dict_class = trainer_config["dict_class"]
    architecture = SAELENS_ARCHITECTURES.get(dict_class, "jumprelu")
    plain = plain_weights(weights)
    if architecture == "gated":
        plain["b_gate"] = plain["gate_bias"]
    if architecture == "jumprelu":
        plain["threshold"] = plain["threshold"].expand(len(plain["W_dec"]))
    own = {"gated": ("r_mag", "b_mag", "b_gate"), "jumprelu": ("b_enc", "threshold")}.get(architecture, ("b_enc",))
    tensors = {key: plain[key].float().contiguous() for key in ("W_enc", "W_dec", "b_dec", *own)}
    width, latents = tensors["W_enc"].shape
    config: dict[str, Any] = {
        "architecture": architecture,
        "d_in": width,
        "d_sae": latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": dict_class != "JumpReluAutoEncoder",
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "model_name": trainer_config["lm_name"],
            "hook_name": hook,
            "context_size": stream_config["context_length"],
            "dict_class": dict_class,
        },
    }
    if architecture == "topk":
        config |= {"k": int(plain["k"]), "rescale_acts_by_decoder_norm": False}
    return config, tensors
