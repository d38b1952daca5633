"""SAEs as dictionary_learning and SAELens write them, with random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from dictionary_learning import dictionary
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
from dictionary_learning.trainers.top_k import AutoEncoderTopK
from sae_lens import SAE
from sae_lens.saes.sae import TrainingSAE

WIDTH, LATENTS, K, LAYER = 32, 64, 8, 1  # of conftest.py's models and SAEs
HOOK = f"blocks.{LAYER}.hook_resid_post"

OF_DICTIONARY_LEARNING = {
    "AutoEncoder": lambda: dictionary.AutoEncoder(WIDTH, LATENTS),
    "AutoEncoderNew": lambda: dictionary.AutoEncoderNew(WIDTH, LATENTS),
    "GatedAutoEncoder": lambda: dictionary.GatedAutoEncoder(WIDTH, LATENTS),
    "AutoEncoderTopK": lambda: AutoEncoderTopK(WIDTH, LATENTS, K),
    "BatchTopKSAE": lambda: BatchTopKSAE(WIDTH, LATENTS, K),
    "MatryoshkaBatchTopKSAE": lambda: MatryoshkaBatchTopKSAE(WIDTH, LATENTS, K, [16, 48]),
    "JumpReluAutoEncoder": lambda: dictionary.JumpReluAutoEncoder(WIDTH, LATENTS),
}
OF_SAELENS = ("standard", "gated", "topk", "jumprelu", "batchtopk", "matryoshka_batchtopk")


@torch.no_grad()
def write_dictionary_learning(folder: Path, name: str, **trainer: object) -> Any:
    """As trainSAE saves it; the SAE."""
    torch.manual_seed(0)
    sae = OF_DICTIONARY_LEARNING[name]()
    random_biases(sae, ("bias", "b_", "threshold", "r_mag"))
    if name in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE", "AutoEncoderTopK"):
        sae.threshold.fill_(0.03)
    folder.mkdir(parents=True)
    torch.save(sae.state_dict(), folder / "ae.pt")
    config = {"dict_class": name, "layer": LAYER, "lm_name": "tiny", "activation_dim": WIDTH, "dict_size": LATENTS}
    config |= {"k": K} if hasattr(sae, "k") else {}
    config |= {"submodule_name": f"resid_post_layer_{LAYER}"} | trainer
    (folder / "config.json").write_text(json.dumps({"trainer": config, "buffer": {"ctx_len": 32, "io": "out"}}))
    return sae


@torch.no_grad()
def write_saelens(folder: Path, architecture: str, hook: str = HOOK, **config: object) -> Any:
    """As its trainer saves it for use; the SAE."""
    torch.manual_seed(0)
    given = {"d_in": WIDTH, "d_sae": LATENTS, "architecture": architecture, "dtype": "float32", "device": "cpu"}
    metadata = {"model_name": "tiny", "hook_name": hook, "context_size": 32, "sae_lens_version": "6.54.12"}
    if "batchtopk" in architecture:
        given |= {"matryoshka_widths": [16, 64]} if "matryoshka" in architecture else {}
        training = TrainingSAE.get_sae_class_for_architecture(architecture)
        made = TrainingSAE.get_sae_config_class_for_architecture(architecture).from_dict(given | {"k": K} | config)
        for key, value in metadata.items():
            made.metadata[key] = value
        sae = training(made)
        random_biases(sae, ("b_",))
        sae.W_dec *= (torch.rand(LATENTS, 1) + 0.5) / sae.W_dec.norm(dim=1, keepdim=True)
        sae.topk_threshold.fill_(0.03)
        sae.save_inference_model(folder)
    else:
        given |= {"k": K} if architecture == "topk" else {}
        sae = SAE.from_dict(given | {"metadata": metadata} | config)
        random_biases(sae, ("b_", "threshold", "r_mag"))
        sae.W_dec /= sae.W_dec.norm(dim=1, keepdim=True)
        if architecture != "topk" or sae.cfg.rescale_acts_by_decoder_norm:
            sae.W_dec *= torch.rand(LATENTS, 1) + 0.5
        sae.save_model(folder)
    return SAE.load_from_disk(folder)


def random_biases(sae: Any, names: tuple[str, ...]) -> None:
    """Of the size of the tiny model's activations."""
    for name, parameter in sae.named_parameters():
        if any(part.startswith(names) for part in name.split(".")):
            drawn = 0.03 * torch.randn_like(parameter)
            parameter.copy_(drawn.abs() if "threshold" in name else drawn)
