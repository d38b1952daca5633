"""Language models: what the workflow needs to know about one, and its residual stream at one layer.

No family is named here. Any decoder of transformers will do whose blocks stand in one list: they are found by that, and
each time a model is loaded, what they give is compared with the hidden states that transformers gives.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from ..jobs.device import to_device
from ..jobs.errors import InputError, first_line
from ..jobs.files import read_json, sha256, write_json
from ..jobs.hub import Repository
from ..jobs.typed import plain, read
from .settings import ModelFacts, ModelSettings, Stream

WEIGHTS_AND_TOKENIZER = ["*.json", "*.safetensors", "*.model", "*.txt"]


def read_facts(path: str | Path) -> ModelFacts:
    """model.json, as rule `model` wrote it."""
    return read(ModelFacts, read_json(path), f"{path}: ")


def write_facts(path: str | Path, settings: ModelSettings, streams: Iterable[Stream] = ()) -> None:
    """Of `streams` only the strings are looked at: one that is no token is an error here, before any text is read."""
    corruptions = [stream.corruption for stream in streams if stream.corruption is not None]
    strings = [string for corruption in corruptions for string in corruption.strings]
    write_json(path, plain(describe(settings, strings)))


def describe(model: ModelSettings, strings: Iterable[str] = ()) -> ModelFacts:
    """Check a model's settings and collect the facts that later steps need; `strings` must be one token each.

    A hub model is fetched here, once, so that later steps need no network; its revision is resolved to a commit.
    """
    folder, commit = _fetch(model)
    config = text_config(model.name, folder)
    _check(model, config)
    tokenizer = load_tokenizer(model.name, folder)
    for string in strings:
        mask_token(model.name, tokenizer, string, "streams: corruption.string")
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
        files=_checksums(folder) if commit is None else None,
        mask_id=mask_token(model.name, tokenizer, model.mask),
        special_ids=tuple(special_ids(tokenizer)),
    )


def _check(model: ModelSettings, config: Any) -> None:
    for key in ("num_hidden_layers", "hidden_size"):
        if getattr(config, key, None) is None:
            raise InputError(
                f"models: {model.name}: {config.model_type} models have no {key} in their configuration: choose a "
                "decoder of transformers whose blocks stand in one list"
            )
    if model.layer >= config.num_hidden_layers:
        raise InputError(
            f"models: {model.name}: layer {model.layer} is beyond the model, "
            f"whose layers are 0 to {config.num_hidden_layers - 1}"
        )
    if model.context_length > (longest := _longest(config)):
        raise InputError(
            f"tokens.context_length: {model.context_length} is longer than {model.name} can read ({longest})"
        )


def mask_token(name: str, tokenizer: PreTrainedTokenizerBase, string: str, key: str = "mask") -> int:
    """`key` says where the string was given."""
    ids = tokenizer(string, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise InputError(
            f"{key}: {string!r} is {len(ids)} tokens in {name}'s tokenizer, and a masked token is replaced by "
            "exactly one: choose a string that is one token"
        )
    return int(ids[0])


def special_ids(tokenizer: PreTrainedTokenizerBase) -> Sequence[int]:
    """BOS, EOS and padding: structure, not text."""
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return sorted({number for number in ids if number is not None})


def tokenizer_of(facts: ModelFacts) -> PreTrainedTokenizerBase:
    tokenizer = load_tokenizer(facts.name, snapshot(facts))
    tokenizer.name_or_path = facts.source  # of a hub model, not the folder here
    return tokenizer


def longest_text(facts: ModelFacts) -> int:
    """How many tokens the model can read at once."""
    return _longest(text_config(facts.name, snapshot(facts)))


def _longest(config: Any) -> int:
    """A family without position embeddings (BLOOM, Mamba) names no length."""
    return getattr(config, "max_position_embeddings", None) or sys.maxsize


def text_config(name: str, folder: str) -> Any:
    """Of the part that reads text, in a model that also reads pictures."""
    return from_pretrained(AutoConfig, name, folder).get_text_config()


def load_tokenizer(name: str, folder: str) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = from_pretrained(AutoTokenizer, name, folder)
    if not tokenizer.is_fast or not len(tokenizer):
        raise InputError(
            f"models: {name}: {folder} holds no fast tokenizer (tokenizer.json): save one beside the model"
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

    hub, keys = model.hub, f"models: {model.name}"
    assert hub is not None
    repository = Repository("model", hub, model.revision, f"{keys}: hub", f"{keys}: revision")
    folder = repository.fetch(
        lambda: snapshot_download(hub, revision=model.revision, allow_patterns=WEIGHTS_AND_TOKENIZER)
    )
    return folder, Path(folder).name


def snapshot(facts: ModelFacts) -> str:
    """Where a model's files are on this machine: given its name, transformers asks the hub again at each load."""
    if facts.path:
        return facts.path
    from huggingface_hub import snapshot_download

    assert facts.hub is not None
    try:
        return snapshot_download(
            facts.hub, revision=facts.commit, allow_patterns=WEIGHTS_AND_TOKENIZER, local_files_only=True
        )
    except Exception as error:
        raise InputError(
            f"models: {facts.name}: {facts.hub} at {facts.commit} is not on this machine, or not all of it: remove its "
            "model.json and run the same command where there is a network, so that it is fetched again (HF_HOME must "
            "be a folder that both machines see)"
        ) from error


def _checksums(folder: str) -> dict[str, str]:
    """What identifies a local model; for a hub model, its commit does."""
    files = {file for pattern in WEIGHTS_AND_TOKENIZER for file in Path(folder).glob(pattern)}
    return {file.name: sha256(file) for file in sorted(files)}


def from_pretrained(cls: Any, name: str, folder: str, **options: Any) -> Any:
    """transformers' own function; a failure is one line that names the model."""
    # No warnings about an unused head, and no progress bars; `with_all_weights` refuses missing weights.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        return cls.from_pretrained(folder, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"models: {name}: transformers cannot load {folder}: {first_line(error)}") from error


def with_all_weights(cls: Any, name: str, folder: str, dtype: str) -> Any:
    """A model with all its weights; transformers would initialise missing ones at random, with only a warning."""
    model, loaded = from_pretrained(cls, name, folder, dtype=getattr(torch, dtype), output_loading_info=True)
    if missing := sorted(loaded["missing_keys"]):
        raise InputError(f"models: {name}: {folder} lacks weights ({missing[0]}, …): fetch or make it again")
    return model


@contextmanager
def tf32_products() -> Iterator[None]:
    """Within it, products of float32 matrices may use TF32 on a GPU; nothing else computes otherwise.

    torch has an older and a newer setting. The older one sets the newer one too; where they disagree, torch refuses to
    read the older one, which its profiler and compiler do. So that one is set, and afterwards both are put back.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32 = before == "tf32"
        matmul.fp32_precision = before


def blocks_of(name: str, model: nn.Module, layers: int) -> nn.ModuleList:
    """The list of a decoder's blocks: of all lists of that length the outermost, if there is one such."""
    lists = {path: part for path, part in model.named_modules() if isinstance(part, nn.ModuleList)}
    found = {path: part for path, part in lists.items() if len(part) == layers}
    outermost = [part for path, part in found.items() if not any(path.startswith(f"{other}.") for other in found)]
    if len(outermost) != 1:
        raise InputError(
            f"models: {name}: {type(model).__name__} has {len(outermost)} lists of {layers} blocks "
            f"({', '.join(found) or 'none'}), and its residual stream is read where there is one: choose another model"
        )
    return outermost[0]


def output_of(block_output: Any) -> torch.Tensor:
    """Of some families a block gives more than the residual stream, which is then the first."""
    output: torch.Tensor = block_output[0] if isinstance(block_output, tuple) else block_output
    return output


@torch.no_grad()
def check_blocks(name: str, model: nn.Module, blocks: nn.ModuleList) -> None:
    """On a few tokens: each block's output is the model's own hidden state, and knows nothing of what comes later."""
    outputs: list[torch.Tensor] = []
    hooks = [block.register_forward_hook(lambda _, __, output: outputs.append(output_of(output))) for block in blocks]
    half, one, other = torch.arange(12).view(3, 4)  # two texts that begin alike
    few = torch.stack([torch.cat([half, one]), torch.cat([half, other])])
    states = model(input_ids=few, use_cache=False, output_hidden_states=True).hidden_states
    for hook in hooks:
        hook.remove()
    # The last state is behind the final norm.
    if len(outputs) != len(blocks) or not all(map(torch.equal, outputs[:-1], states[1:-1])):
        raise InputError(
            f"models: {name}: what the blocks of {type(model).__name__} give is not what transformers calls its hidden "
            "states, so they are not one residual stream: choose another model"
        )
    of_one, of_other = outputs[0][:, :4].float()
    # Equal bit for bit, unless a router gives its experts other batches in the two texts, which then round otherwise.
    if (of_one - of_other).norm() > torch.finfo(outputs[0].dtype).eps ** 0.5 * of_one.norm():
        raise InputError(
            f"models: {name}: {type(model).__name__} also reads what comes after a token: choose a decoder, which "
            "reads what comes before"
        )


class LanguageModel:
    """A language model cut off after the layer that is read: contexts of token ids in, residual stream out."""

    def __init__(self, facts: ModelFacts, dtype: str, device: str):
        model = with_all_weights(AutoModel, facts.name, snapshot(facts), dtype).eval().requires_grad_(False)
        blocks = blocks_of(facts.name, model, facts.layers)
        check_blocks(facts.name, model, blocks)
        del blocks[facts.layer + 1 :]
        blocks[facts.layer].register_forward_hook(self._keep)
        self.facts, self.device = facts, device
        self.name, self.width = facts.name, facts.width
        self._model = model.to(device)
        self._kept: torch.Tensor | None = None

    def _keep(self, block: nn.Module, inputs: Any, output: Any) -> None:
        self._kept = output_of(output)

    @torch.no_grad()
    def residual(self, tokens: torch.Tensor, tf32: bool = False) -> torch.Tensor:
        """Output of the layer (transformers' hidden_states[layer + 1]) at each position of unpadded contexts.

        `tf32` is for streams; scores and quality are computed without it.
        """
        tokens = to_device(tokens, self.device)
        with tf32_products() if tf32 else nullcontext():
            self._model(input_ids=tokens, use_cache=False)
        kept, self._kept = self._kept, None  # a block's activations are not held longer than they are needed
        assert kept is not None
        return kept
