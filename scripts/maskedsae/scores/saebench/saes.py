"""Our SAEs as objects of SAEBench's classes."""

from pathlib import Path
from typing import Any

import torch
from sae_bench.custom_saes.batch_topk_sae import BatchTopKSAE
from sae_bench.custom_saes.gated_sae import GatedSAE
from sae_bench.custom_saes.jumprelu_sae import JumpReluSAE
from sae_bench.custom_saes.relu_sae import ReluSAE
from sae_bench.custom_saes.topk_sae import TopKSAE

from ...jobs.files import read_json
from ...saes.formats import plain_weights

# SAEBench's names for dictionary_learning's classes.
SAEBENCH_ARCHITECTURES = {
    "MatryoshkaBatchTopKSAE": "matryoshka_batch_topk",
    "BatchTopKSAE": "batch_topk",
    "AutoEncoderTopK": "topk",
    "JumpReluAutoEncoder": "jumprelu",
    "GatedAutoEncoder": "gated",
}

# Of a ReLU SAE, the name says how it was trained; `standard` where that is not known.
OF_RELU_TRAINERS = {
    "PAnnealTrainer": "p_anneal",
    "StandardTrainerAprilUpdate": "standard_april_update",
}


def load_for_saebench(
    folder: str | Path, model_name: str, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Any:
    """The SAE in SAEBench's class for it. SAEBench's own loaders need a repository on the hub."""
    folder = Path(folder)
    config = read_json(folder / "config.json")["trainer"]
    plain = plain_weights(torch.load(folder / "ae.pt", map_location="cpu", weights_only=True))
    plain.pop("group_sizes", None)  # Matryoshka's groups, which only training needs
    arguments: dict[str, Any] = {
        "model_name": model_name,
        "hook_layer": config["layer"],
        "device": torch.device(device),
        "dtype": dtype,
    }
    width, latents = plain["W_enc"].shape
    if config["dict_class"] == "AutoEncoder":
        architecture = OF_RELU_TRAINERS.get(config.get("trainer_class"), "standard")
        sae = ReluSAE(width, latents, **arguments)
    elif (architecture := SAEBENCH_ARCHITECTURES[config["dict_class"]]) == "gated":
        sae = GatedSAE(width, latents, **arguments)
    elif architecture == "jumprelu":
        sae = JumpReluSAE(width, latents, **arguments)
    elif architecture == "topk":
        del plain["threshold"]  # dictionary_learning's TopK encodes by top-k too, unless asked otherwise
        sae = TopKSAE(width, latents, k=config["k"], **arguments)
    else:
        sae = BatchTopKSAE(width, latents, k=config["k"], **arguments)
    sae.load_state_dict(plain)
    sae.cfg.architecture = architecture
    return sae.to(device=torch.device(device), dtype=dtype)
