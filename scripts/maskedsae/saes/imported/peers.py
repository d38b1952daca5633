"""SAEs of dictionary_learning and SAELens, by their own loaders, as weights that our files hold.

What our files cannot hold is folded into the weights: `folded` says what was. Nothing else is touched, so that an SAE
of a class that we train is the same bit for bit.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from dictionary_learning.dictionary import AutoEncoder
from dictionary_learning.utils import load_dictionary

from ...jobs.errors import InputError, first_line
from ...jobs.files import read_json
from ..formats import Weights, plain_weights

UNIT = 1e-5  # how far from 1 a decoder norm may be: SAEBench's evals want it so (scores/saebench/checks.py)

CLASS_OF = {
    "standard": "AutoEncoder",
    "gated": "GatedAutoEncoder",
    "topk": "AutoEncoderTopK",
    "jumprelu": "JumpReluAutoEncoder",
}
# dictionary_learning's names. Only JumpReluAutoEncoder's W_enc and W_dec are not those of linear layers.
BIASES = {
    "AutoEncoder": {"b_enc": "encoder.bias", "b_dec": "bias"},
    "GatedAutoEncoder": {"b_gate": "gate_bias", "b_mag": "mag_bias", "r_mag": "r_mag", "b_dec": "decoder_bias"},
    "AutoEncoderTopK": {"b_enc": "encoder.bias", "b_dec": "b_dec"},
    "JumpReluAutoEncoder": {"b_enc": "b_enc", "threshold": "threshold", "b_dec": "b_dec"},
}


@dataclass
class Loaded:
    weights: Weights  # dictionary_learning's state dict
    trainer: dict[str, Any]  # of its config.json
    buffer: dict[str, Any]
    folded: list[str] = field(default_factory=list)


def load(folder: Path) -> Loaded:
    """The SAE of a folder that described.py knows."""
    ours = (folder / "config.json").exists()
    loaded = from_dictionary_learning(folder) if ours else from_saelens(folder)
    for name, value in loaded.weights.items():
        if not torch.isfinite(value.float()).all():
            raise InputError(f"{folder}: {name} has values that are not finite: take another SAE")
    if loaded.trainer["dict_class"] in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE") and loaded.weights["threshold"] < 0:
        raise InputError(f"{folder}: the threshold was never set (-1), so the SAE cannot be used: take another one")
    off = (plain_weights(loaded.weights)["W_dec"].norm(dim=1) - 1).abs().max()
    if off > 2 * UNIT:
        raise InputError(f"{folder}: decoder vectors must have norm 1, and one is off by {off:.2g}: take another SAE")
    return loaded


def from_dictionary_learning(folder: Path) -> Loaded:
    config = read_json(folder / "config.json")
    try:
        if config["trainer"]["dict_class"] == "AutoEncoder":  # normalised below: its own way stops at 1e-4 of rounding
            dictionary = AutoEncoder.from_pretrained(f"{folder}/ae.pt", device="cpu", normalize_decoder=False)
        else:
            dictionary, _ = load_dictionary(str(folder), device="cpu")
    except Exception as error:
        raise InputError(f"{folder}: dictionary_learning cannot load it: {first_line(error)}: restore it") from error
    weights = {name: value.detach() for name, value in dictionary.state_dict().items()}
    trainer, buffer = dict(config["trainer"]), dict(config.get("buffer") or {})
    buffer.setdefault("context_length", buffer.get("ctx_len"))
    given, name = torch.load(folder / "ae.pt", map_location="cpu", weights_only=True), trainer["dict_class"]
    folded = []
    if name == "AutoEncoderNew":  # which has no bias before its encoder, and a bias in its decoder
        weights["bias"] = weights.pop("decoder.bias")
        plain = _plain(weights, "AutoEncoder")
        folded += _fold_norms(plain, name, folder)
        folded += _subtract(plain, subtracts=False, wanted=True)
        trainer["dict_class"] = "AutoEncoder"
        weights = _named(plain, "AutoEncoder")
    elif name in BIASES:
        plain = _plain(weights, name)
        if norms := _fold_norms(plain, name, folder):
            folded, weights = norms, weights | _named(plain, name)
    if all(torch.equal(value, given.get(key)) for key, value in weights.items()):
        weights = given  # with its number formats and strides, so that the same SAE gives the same file
    return Loaded(weights, trainer, buffer, folded)


def from_saelens(folder: Path) -> Loaded:
    from sae_lens import SAE  # seconds

    try:
        sae = SAE.load_from_disk(folder, device="cpu", dtype="float32")
    except Exception as error:
        raise InputError(f"{folder}: SAELens cannot load it: {first_line(error)}: restore it") from error
    config, name, folded = sae.cfg, CLASS_OF[sae.cfg.architecture()], []
    if config.normalize_activations != "none":
        # layer_norm and constant_norm_rescale scale each token by itself, which no weights can do. For the others a
        # number is needed that the folder does not have.
        raise InputError(
            f"{folder}: normalize_activations is {config.normalize_activations}, which is not in its weights: fold it "
            "in (SAELens' fold_activation_norm_scaling_factor or fold_activation_whitening) and save it again"
        )
    if config.reshape_activations != "none":
        raise InputError(f"{folder}: reshape_activations is {config.reshape_activations}: it is no residual stream's")
    if getattr(config, "rescale_acts_by_decoder_norm", False):
        sae.fold_W_dec_norm()
        folded.append("decoder norms")
    plain = {key: value.detach().float().clone() for key, value in sae.state_dict().items()}
    folded += _fold_norms(plain, name, folder)
    folded += _subtract(plain, bool(config.apply_b_dec_to_input), wanted=name != "JumpReluAutoEncoder")
    width, latents = plain["W_enc"].shape
    weights = _named(plain, name)
    trainer = {
        "dict_class": name,
        "lm_name": config.metadata.model_name,
        "layer": None,  # make.py knows it
        "activation_dim": width,
        "dict_size": latents,
    }
    if name == "AutoEncoderTopK":
        trainer["k"] = config.k
        weights |= {"k": torch.tensor(config.k, dtype=torch.int), "threshold": torch.tensor(-1.0)}
    return Loaded(weights, trainer, {"context_length": config.metadata.context_size}, folded)


def _plain(weights: Weights, name: str) -> Weights:
    """By SAELens' names, W_enc as (width, latents)."""
    plain = {key: weights[theirs].clone() for key, theirs in BIASES[name].items()}
    if name == "JumpReluAutoEncoder":
        return plain | {key: weights[key].clone() for key in ("W_enc", "W_dec")}
    return plain | {"W_enc": weights["encoder.weight"].T.clone(), "W_dec": weights["decoder.weight"].T.clone()}


def _named(plain: Weights, name: str) -> Weights:
    """The inverse of `_plain`."""
    weights = {theirs: plain[key] for key, theirs in BIASES[name].items()}
    if name == "JumpReluAutoEncoder":
        return weights | {key: plain[key] for key in ("W_enc", "W_dec")}
    weights["encoder.weight"] = plain["W_enc"].T.contiguous()
    return weights | {"decoder.weight": plain["W_dec"].T.contiguous()}


def _fold_norms(plain: Weights, name: str, folder: Path) -> list[str]:
    """Decoder vectors of norm 1: latents grow by their norms, and so do what they are compared with."""
    norms = plain["W_dec"].norm(dim=1)
    if (norms - 1).abs().max() <= UNIT:
        return []
    if name == "AutoEncoderTopK":
        raise InputError(
            f"{folder}: decoder vectors must have norm 1, and to fold their norms into a TopK SAE would change which "
            "latents are the largest: take another SAE"
        )
    if (norms == 0).any():
        raise InputError(f"{folder}: latent {int(norms.argmin())} has a decoder vector of zeros: take another SAE")
    plain["W_dec"] /= norms[:, None]
    plain["W_enc"] *= norms
    for key in {"b_enc", "b_gate", "b_mag", "threshold"} & plain.keys():
        plain[key] *= norms
    return ["decoder norms"]


def _subtract(plain: Weights, subtracts: bool, wanted: bool) -> list[str]:
    """Whether the decoder's bias is subtracted before the encoder is what the class decides."""
    if subtracts == wanted or not plain["b_dec"].any():
        return []
    shift = (plain["b_dec"].double() @ plain["W_enc"].double()) * (1 if wanted else -1)
    for key in {"b_enc", "b_gate"} & plain.keys():
        plain[key] = (plain[key].double() + shift).float()
    if "b_mag" in plain:
        plain["b_mag"] = (plain["b_mag"].double() + shift * plain["r_mag"].double().exp()).float()
    return ["the decoder's bias, taken back in the encoder's" if wanted else "the decoder's bias, in the encoder's"]
