"""Language models: what the workflow needs to know of one, and its residual stream at one layer.

A new family is one line in FAMILIES, if its transformers class has `.layers` and adds nothing to the residual stream
between its last kept block and its final norm; tests/unit/test_models.py then compares it with the whole model.
"""

import logging
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from .errors import InputError
from .files import sha256

log = logging.getLogger("maskedsae")

# transformers' model_type -> the name of the final norm, which is taken off: the residual stream is what precedes it.
FAMILIES = {"gpt_neox": "final_layer_norm", "gemma2": "norm"}

WEIGHTS_AND_TOKENIZER = ["*.json", "*.safetensors", "*.model", "*.txt"]


def describe(model: dict) -> dict:
    """Check a model's settings (`grid.model_settings`) and state the facts that later steps build on.

    A hub model is fetched here, once, so that nothing after needs the network; its revision is resolved to a commit.
    """
    name = model["name"]
    source, commit = _fetch(model)
    config = _from_pretrained(AutoConfig, name, source, revision=commit)
    if config.model_type not in FAMILIES:
        raise InputError(
            f"models: {name}: {config.model_type} models are not supported ({', '.join(FAMILIES)} are): "
            "see FAMILIES in scripts/maskedsae/models.py for adding one"
        )
    if model["layer"] >= config.num_hidden_layers:
        raise InputError(
            f"models: {name}: layer {model['layer']} is beyond the model, "
            f"whose layers are 0 to {config.num_hidden_layers - 1}"
        )
    if model["context_length"] > config.max_position_embeddings:
        raise InputError(
            f"tokens.context_length: {model['context_length']} is longer than {name} can read "
            f"({config.max_position_embeddings})"
        )
    tokenizer = load_tokenizer(name, source, commit)
    bos = model["bos"]
    if bos is None:  # as the model's own tokenizer does: Gemma's adds BOS, Pythia's does not
        bos = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return {
        "name": name,
        "hub": model.get("hub"),
        "commit": commit,
        "path": model.get("path"),
        "family": config.model_type,
        "layers": config.num_hidden_layers,
        "layer": model["layer"],
        "width": config.hidden_size,
        "vocabulary": len(tokenizer),
        "bos": bos,
        "files": _checksums(source) if commit is None else None,
        "mask_id": mask_token(name, tokenizer, model["mask"]),
        "special_ids": special_ids(tokenizer),
    }


def mask_token(name: str, tokenizer: PreTrainedTokenizerBase, mask_string: str) -> int:
    ids = tokenizer(mask_string, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise InputError(
            f"mask: {mask_string!r} is {len(ids)} tokens of {name}'s tokenizer, and a masked token is replaced by "
            "exactly one: choose a string that is one token"
        )
    return ids[0]


def special_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """BOS, EOS and padding: structure rather than text."""
    ids = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    return sorted(ids - {None})


def tokenizer_of(facts: dict) -> PreTrainedTokenizerBase:
    return load_tokenizer(facts["name"], facts["path"] or facts["hub"], facts["commit"])


def load_tokenizer(name: str, source: str, commit: str | None) -> PreTrainedTokenizerBase:
    tokenizer = _from_pretrained(AutoTokenizer, name, source, revision=commit)
    if not tokenizer.is_fast or not len(tokenizer):
        raise InputError(
            f"models: {name}: {source} holds no fast tokenizer (tokenizer.json): save one beside the model"
        )
    return tokenizer


def _fetch(model: dict) -> tuple[str, str | None]:
    """Where the model's files are, and the hub commit that they belong to."""
    if path := model.get("path"):
        files = {file.name for file in Path(path).iterdir()} if Path(path).is_dir() else set()
        if "config.json" not in files:
            raise InputError(
                f"models: {model['name']}: {path} is no Hugging Face model directory: config.json is missing"
            )
        if not files & {"tokenizer.json", "tokenizer.model"}:
            raise InputError(
                f"models: {model['name']}: {path} has no tokenizer (tokenizer.json): save one beside the model"
            )
        return path, None
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(model["hub"], revision=model["revision"], allow_patterns=WEIGHTS_AND_TOKENIZER)
    except Exception as error:  # the hub client raises its own, requests' and OS errors: each means "not to be had"
        raise InputError(
            f"models: {model['name']}: cannot fetch {model['hub']} ({_first_line(error)}): check the name, the network "
            "and, for a gated model, that its licence is accepted and `hf auth login` was run"
        ) from error
    return model["hub"], Path(folder).name


def _checksums(folder: str) -> dict[str, str]:
    """A local model's identity; a hub model's is its commit."""
    files = {file for pattern in WEIGHTS_AND_TOKENIZER for file in Path(folder).glob(pattern)}
    return {file.name: sha256(file) for file in sorted(files)}


def _from_pretrained(cls, name: str, source: str, **options):
    try:
        return cls.from_pretrained(source, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"models: {name}: transformers cannot load {source}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


class LanguageModel:
    """A language model cut off after the layer that is read: contexts of token ids in, residual stream out."""

    def __init__(self, facts: dict, dtype: str, device: str):
        source = facts["path"] or facts["hub"]
        options = {"revision": facts["commit"], "dtype": getattr(torch, dtype), "output_loading_info": True}
        model, loaded = _from_pretrained(AutoModel, facts["name"], source, **options)
        if missing := sorted(loaded["missing_keys"]):  # transformers would make them up, with no more than a warning
            raise InputError(
                f"models: {facts['name']}: {source} lacks weights ({missing[0]}, …): fetch or make it again"
            )
        model.layers = model.layers[: facts["layer"] + 1]
        setattr(model, FAMILIES[facts["family"]], nn.Identity())
        self.name, self.width, self.device = facts["name"], facts["width"], device
        self._model = model.eval().requires_grad_(False).to(device)

    @torch.no_grad()
    def residual(self, tokens: torch.Tensor) -> torch.Tensor:
        """Output of the layer (transformers' hidden_states[layer + 1]) at each position of unpadded contexts."""
        return self._model(input_ids=tokens.to(self.device), use_cache=False).last_hidden_state


def check_device(device: str, autocast: str) -> None:
    if device.startswith("cuda") and not torch.cuda.is_available():
        built = "this torch has no CUDA: run `make env TORCH=cuda`" if torch.version.cuda is None else "none is visible"
        raise InputError(f"compute.device: {device} asks for a GPU, but {built} (or set compute.device to cpu)")
    if device == "cpu" and autocast != "float32":
        raise InputError(f"training.autocast: {autocast} needs a GPU: set it to float32 for compute.device cpu")


def set_threads(threads: int) -> None:
    """Sums differ with the number of threads, so it comes from the configuration, not from what a job was given."""
    torch.set_num_threads(threads)
    # cuBLAS is deterministic only with a fixed workspace (CUDA's documentation of CUBLAS_WORKSPACE_CONFIG).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
