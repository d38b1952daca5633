"""Language models: what the workflow needs to know about one, and its residual stream at one layer.

A new family is one line in FAMILIES, if its transformers class has `.layers` and adds nothing to the residual stream
between its last kept block and its final norm; tests/unit/test_language_models.py then compares it with the whole
model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from ..jobs.errors import InputError, first_line
from ..jobs.files import read_json, sha256, write_json
from ..jobs.typed import plain, read
from .settings import ModelFacts, ModelSettings

# transformers' model_type -> the name of the final norm, which is removed: the residual stream is its input.
FAMILIES = {"gpt_neox": "final_layer_norm", "gemma2": "norm"}

WEIGHTS_AND_TOKENIZER = ["*.json", "*.safetensors", "*.model", "*.txt"]


def read_facts(path: str | Path) -> ModelFacts:
    """model.json, as rule `model` wrote it."""
    return read(ModelFacts, read_json(path), f"{path}: ")


def write_facts(path: str | Path, settings: ModelSettings) -> None:
    write_json(path, plain(describe(settings)))


def describe(model: ModelSettings) -> ModelFacts:
    """Check a model's settings and collect the facts that later steps need.

    A hub model is fetched here, once, so that later steps need no network; its revision is resolved to a commit.
    """
    source, commit = _fetch(model)
    config = from_pretrained(AutoConfig, model.name, source, revision=commit)
    _check(model, config)
    tokenizer = load_tokenizer(model.name, source, commit)
    bos = model.bos
    if bos is None:  # as the model's own tokenizer does: Gemma's adds BOS, Pythia's does not
        bos = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return ModelFacts(
        name=model.name,
        hub=model.hub,
        commit=commit,
        path=model.path,
        family=config.model_type,
        layers=config.num_hidden_layers,
        layer=model.layer,
        width=config.hidden_size,
        vocabulary=len(tokenizer),
        bos=bos,
        files=_checksums(source) if commit is None else None,
        mask_id=mask_token(model.name, tokenizer, model.mask),
        special_ids=tuple(special_ids(tokenizer)),
    )


def _check(model: ModelSettings, config: Any) -> None:
    if config.model_type not in FAMILIES:
        raise InputError(
            f"models: {model.name}: {config.model_type} models are not supported ({', '.join(FAMILIES)} are): "
            "to add one, see FAMILIES in scripts/maskedsae/activations/language_models.py"
        )
    if model.layer >= config.num_hidden_layers:
        raise InputError(
            f"models: {model.name}: layer {model.layer} is beyond the model, "
            f"whose layers are 0 to {config.num_hidden_layers - 1}"
        )
    if model.context_length > config.max_position_embeddings:
        raise InputError(
            f"tokens.context_length: {model.context_length} is longer than {model.name} can read "
            f"({config.max_position_embeddings})"
        )


def mask_token(name: str, tokenizer: PreTrainedTokenizerBase, mask_string: str) -> int:
    ids = tokenizer(mask_string, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise InputError(
            f"mask: {mask_string!r} is {len(ids)} tokens in {name}'s tokenizer, and a masked token is replaced by "
            "exactly one: choose a string that is one token"
        )
    return int(ids[0])


def special_ids(tokenizer: PreTrainedTokenizerBase) -> Sequence[int]:
    """BOS, EOS and padding: structure, not text."""
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return sorted({number for number in ids if number is not None})


def tokenizer_of(facts: ModelFacts) -> PreTrainedTokenizerBase:
    return load_tokenizer(facts.name, facts.source, facts.commit)


def longest_text(facts: ModelFacts) -> int:
    """How many tokens the model can read at once."""
    config = from_pretrained(AutoConfig, facts.name, facts.source, revision=facts.commit)
    return int(config.max_position_embeddings)


def load_tokenizer(name: str, source: str, commit: str | None) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = from_pretrained(AutoTokenizer, name, source, revision=commit)
    if not tokenizer.is_fast or not len(tokenizer):
        raise InputError(
            f"models: {name}: {source} holds no fast tokenizer (tokenizer.json): save one beside the model"
        )
    return tokenizer


def _fetch(model: ModelSettings) -> tuple[str, str | None]:
    """Where the model's files are, and the hub commit that they belong to."""
    if model.path:
        files = {file.name for file in Path(model.path).iterdir()} if Path(model.path).is_dir() else set()
        if "config.json" not in files:
            raise InputError(
                f"models: {model.name}: {model.path} is no Hugging Face model directory: config.json is missing"
            )
        if not files & {"tokenizer.json", "tokenizer.model"}:
            raise InputError(
                f"models: {model.name}: {model.path} has no tokenizer (tokenizer.json): save one beside the model"
            )
        return model.path, None
    from huggingface_hub import snapshot_download

    assert model.hub is not None
    try:
        folder = snapshot_download(model.hub, revision=model.revision, allow_patterns=WEIGHTS_AND_TOKENIZER)
    except Exception as error:  # the hub client's own errors, requests' and the OS's
        raise InputError(
            f"models: {model.name}: cannot fetch {model.hub} ({first_line(error)}): check the name, the network "
            "and, for a gated model, that its licence is accepted and `hf auth login` was run"
        ) from error
    return model.hub, Path(folder).name


def _checksums(folder: str) -> dict[str, str]:
    """What identifies a local model; for a hub model, its commit does."""
    files = {file for pattern in WEIGHTS_AND_TOKENIZER for file in Path(folder).glob(pattern)}
    return {file.name: sha256(file) for file in sorted(files)}


def from_pretrained(cls: Any, name: str, source: str, **options: Any) -> Any:
    """transformers' own function; a failure is one line that names the model."""
    # No warnings about an unused head, and no progress bars; `with_all_weights` refuses missing weights.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        return cls.from_pretrained(source, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"models: {name}: transformers cannot load {source}: {first_line(error)}") from error


def with_all_weights(cls: Any, name: str, source: str, dtype: str, **options: Any) -> Any:
    """A model with all its weights; transformers would initialise missing ones at random, with only a warning."""
    options |= {"dtype": getattr(torch, dtype), "output_loading_info": True}
    model, loaded = from_pretrained(cls, name, source, **options)
    if missing := sorted(loaded["missing_keys"]):
        raise InputError(f"models: {name}: {source} lacks weights ({missing[0]}, …): fetch or make it again")
    return model


class LanguageModel:
    """A language model cut off after the layer that is read: contexts of token ids in, residual stream out."""

    def __init__(self, facts: ModelFacts, dtype: str, device: str):
        model = with_all_weights(AutoModel, facts.name, facts.source, dtype, revision=facts.commit)
        model.layers = model.layers[: facts.layer + 1]
        setattr(model, FAMILIES[facts.family], nn.Identity())
        self.facts, self.device = facts, device
        self.name, self.width = facts.name, facts.width
        self._model = model.eval().requires_grad_(False).to(device)

    @torch.no_grad()
    def residual(self, tokens: torch.Tensor) -> torch.Tensor:
        """Output of the layer (transformers' hidden_states[layer + 1]) at each position of unpadded contexts."""
        residual: torch.Tensor = self._model(input_ids=tokens.to(self.device), use_cache=False).last_hidden_state
        return residual
