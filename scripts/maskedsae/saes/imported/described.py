"""What an SAE's own configuration says about it, and whether that fits the language model. No weights are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...jobs.errors import InputError
from ...jobs.files import read_json

DICTIONARY_LEARNING = ("ae.pt", "config.json")
SAELENS = ("cfg.json", "sae_weights.safetensors")
OURS = (*DICTIONARY_LEARNING, *SAELENS, "SHA256SUMS")  # saes/formats.py writes both

# Those that load_dictionary and SAE.load_from_disk know and our files can hold. SAELens saves BatchTopK and Matryoshka
# SAEs as jumprelu (`save_inference_model`).
CLASSES = (
    *("AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "AutoEncoderTopK"),
    *("BatchTopKSAE", "MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder"),
)
ARCHITECTURES = ("standard", "gated", "topk", "jumprelu")


@dataclass(frozen=True)
class Described:
    source: str  # where this is said
    layer: int
    site: str  # what of the layer's is read: resid_post or another one
    width: int | None  # None: not said
    latents: int | None  # None: not said
    hook: str | None = None  # in transformer-lens' words, if SAELens said it


@dataclass(frozen=True)
class Expected:
    """Of the language model."""

    name: str
    layer: int
    width: int | None  # None: not known yet

    @classmethod
    def of(cls, model_file: str | Path) -> "Expected":
        """From model.json, without the code that makes it: on that, what is fetched must not depend."""
        facts = read_json(model_file)
        return cls(facts["name"], facts["layer"], facts["width"])


def files_of(folder: str | Path) -> tuple[str, ...]:
    """The files of a local SAE: of exactly one format, or of both where they are ours."""
    there = [name for name in OURS if Path(folder, name).exists()]
    if len(there) == len(OURS):
        return OURS
    given = [form for form in (DICTIONARY_LEARNING, SAELENS) if set(form) & set(there)]
    if len(given) == 2:
        raise InputError(
            f"{folder}: has files of dictionary_learning's and of SAELens' format, but not all of an SAE of this "
            f"workflow ({', '.join(OURS)}): keep one format"
        )
    if not given:
        known = " nor ".join(" and ".join(form) for form in (DICTIONARY_LEARNING, SAELENS))
        raise InputError(f"{folder}: is no SAE's folder, since it has neither {known}: correct its name")
    for name in given[0]:
        if name not in there:
            raise InputError(f"{folder}: {name} is missing beside {', '.join(there)}: restore it")
    return given[0]


def described(folder: str | Path) -> Described:
    if "config.json" in files_of(folder):
        return of_dictionary_learning(read_json(Path(folder, "config.json")), f"{folder}/config.json")
    return of_saelens(read_json(Path(folder, "cfg.json")), f"{folder}/cfg.json")


def of_dictionary_learning(config: Mapping[str, Any], source: str) -> Described:
    trainer, buffer = config.get("trainer"), config.get("buffer") or {}
    if not isinstance(trainer, Mapping) or "dict_class" not in trainer:
        raise InputError(f"{source}: has no trainer.dict_class, so it is not dictionary_learning's: correct the folder")
    _known(trainer["dict_class"], CLASSES, f"{source}: trainer.dict_class")
    if not isinstance(trainer.get("layer"), int):
        raise InputError(f"{source}: trainer.layer is missing, which says what the SAE reads: write it there")
    # Its demo names submodules so: resid_post_layer_8, mlp_out_layer_8.
    named = re.fullmatch(r"(\w+?)_layer_\d+", str(trainer.get("submodule_name")))
    site = named[1] if named else "resid_post"
    if site == "resid_post" and buffer.get("io", "out") != "out":
        site = f"{buffer['io']}put of the layer" if buffer["io"] == "in" else str(buffer["io"])
    return Described(source, trainer["layer"], site, trainer.get("activation_dim"), trainer.get("dict_size"))


def of_saelens(config: Mapping[str, Any], source: str) -> Described:
    """Also as versions before 6 wrote it, without `metadata`."""
    _known(config.get("architecture", "standard"), ARCHITECTURES, f"{source}: architecture")
    metadata = config.get("metadata") or {}
    hook = metadata.get("hook_name") or config.get("hook_name") or config.get("hook_point")
    found = re.fullmatch(r"blocks\.(\d+)\.hook_(\w+)", str(hook))
    if not found:
        raise InputError(f"{source}: hook_name {hook} is not blocks.{{layer}}.hook_…, so its layer is not known")
    layer, site = int(found[1]), found[2]
    if site == "resid_pre" and layer > 0:  # the same activations
        layer, site = layer - 1, "resid_post"
    return Described(source, layer, site, config.get("d_in"), config.get("d_sae"), hook)


def check_agrees(sae: Described, model: Expected) -> None:
    """That the SAE reads what is read of the model."""
    if sae.site != "resid_post":
        raise InputError(
            f"{sae.source}: the SAE reads {sae.hook or sae.site}, and SAEs here read the residual stream after a layer "
            f"(blocks.{model.layer}.hook_resid_post): take another SAE"
        )
    if sae.layer != model.layer:
        raise InputError(
            f"{sae.source}: the SAE reads layer {sae.layer}, and of {model.name} layer {model.layer} is read: take "
            "another SAE, or add the model once more with that layer"
        )
    if model.width is not None and sae.width is not None and sae.width != model.width:
        raise InputError(
            f"{sae.source}: the SAE reads {sae.width} dimensions, and {model.name} has {model.width}: it is another "
            "model's"
        )


def _known(name: object, known: tuple[str, ...], where: str) -> None:
    if name not in known:
        raise InputError(f"{where}: {name} is none of {', '.join(known)}: such an SAE cannot be scored here")
