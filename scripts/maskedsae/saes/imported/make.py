"""An SAE of section `saes` in our files, with its quality on clean text and where it came from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from dictionary_learning.utils import load_dictionary

from ...activations.language_models import LanguageModel, read_facts
from ...activations.settings import ModelFacts
from ...jobs.compute import Compute
from ...jobs.device import check_device, set_threads
from ...jobs.errors import InputError
from ...jobs.files import read_json, read_sums, sha256, write_json
from ...jobs.log import log
from ...jobs.provenance import provenance
from ...jobs.typed import plain
from ...text.tokens import Tokens
from .. import formats, quality
from ..cells import Imported
from . import baselines
from .described import Expected, check_agrees, described, files_of
from .peers import Loaded, load
from .settings import ImportSettings
from .thresholds import threshold_for


class Reader:
    """The language model and its text, loaded when they are first asked for."""

    def __init__(self, facts: ModelFacts, tokens: Tokens, settings: ImportSettings, device: str):
        self.facts, self.tokens, self.settings, self.device = facts, tokens, settings, device
        self._model: LanguageModel | None = None

    @property
    def model(self) -> LanguageModel:
        if self._model is None:
            self._model = LanguageModel(self.facts, self.settings.dtype, self.device)
        return self._model

    def heldout(self) -> quality.HeldOut:
        return quality.clean_text(self.model, self.tokens, self.settings.lm_batch)

    def training(self) -> Iterator[torch.Tensor]:
        """As much text, of that which cells learn from."""
        return quality.training_rows(self.model, self.tokens, self.settings.lm_batch)


def import_job(
    output: str | Path, model_file: str | Path, manifest: str | Path, settings: ImportSettings, compute: Compute
) -> None:
    """Write the SAE that `output` is a file of; `manifest` is that of the tokens."""
    sae = Imported.parse(output)
    facts = read_facts(model_file)
    import_sae(sae, sae.folder, facts, Tokens.open(Path(manifest).parent), settings, compute)


def import_sae(
    sae: Imported, folder: Path, facts: ModelFacts, tokens: Tokens, settings: ImportSettings, compute: Compute
) -> None:
    check_device(compute.device)
    set_threads(compute.threads)
    reader = Reader(facts, tokens, settings, compute.device)
    loaded, origin = made(sae, folder, reader)
    loaded.trainer["layer"] = facts.layer
    loaded.trainer["lm_name"] = loaded.trainer["lm_name"] or facts.hub or facts.name
    files = folder / "sae"
    formats.write(files, loaded.weights, loaded.trainer, loaded.buffer, facts.hook)
    ours, _ = load_dictionary(str(files), device=compute.device)
    # The number of latents that training aimed at is not known of every SAE, and says nothing about another threshold.
    row = {key: value for key, value in measured(ours, reader).items() if key != "nominal_l0"}
    write_json(files / "quality.json", row)
    write_json(files / "provenance.json", provenance(compute.device) | {"settings": plain(settings), "origin": origin})
    log.info(
        "%s: l0 %.1f on clean text, explained variance %.3f, %d of %d latents dead",
        *(sae.words, row["l0"], row["explained_variance"], row["dead_latents"], row["latents"]),
    )


def measured(sae: Any, reader: Reader) -> dict[str, Any]:
    return quality.measure([(sae, 0)], reader.facts.name, reader.heldout())[0]


def made(sae: Imported, folder: Path, reader: Reader) -> tuple[Loaded, dict[str, Any]]:
    """The SAE, and where it comes from."""
    origin, key = reader.settings.origin, f"saes: {sae.sae}: from"
    if origin.baseline is not None:
        rows = reader.training() if origin.baseline.kind != "raw" else ()
        return baselines.make(origin.baseline, reader.facts.width, rows, f"{key}.baseline"), plain(origin)
    source = source_of(sae, folder, reader.settings)
    check_agrees(described(source), Expected(reader.facts.name, reader.facts.layer, reader.facts.width))
    found: dict[str, Any] = plain(origin)
    if origin.on_the_hub:
        found["source"] = read_json(source / "manifest.json")
    check_sums(source, found.get("source", {}).get("files"))
    loaded = load(source)
    if loaded.trainer["activation_dim"] != reader.facts.width:
        raise InputError(
            f"{source}: the SAE reads {loaded.trainer['activation_dim']} dimensions, and {reader.facts.name} has "
            f"{reader.facts.width}: it is another model's"
        )
    found |= {"files": {name: sha256(source / name) for name in files_of(source)}, "folded": loaded.folded}
    if origin.cell is not None:
        found["threshold"] = set_threshold(loaded, source, origin.cell.threshold_for_l0, reader, f"{key}.cell")
    return loaded, found


def source_of(sae: Imported, folder: Path, settings: ImportSettings) -> Path:
    """The folder that it is in, in one of the formats."""
    origin = settings.origin
    if origin.cell is not None:
        return origin.cell.cell(sae.run, sae.model).folder / "sae"
    return folder / "source" if origin.folder is None else Path(origin.folder)


def check_sums(folder: Path, sums: dict[str, str] | None) -> None:
    """Against those that the fetching wrote down, or that the folder has itself."""
    if sums is None and (folder / "SHA256SUMS").exists():
        sums = read_sums(folder / "SHA256SUMS")
    for name, known in (sums or {}).items():
        if not (folder / name).exists() or sha256(folder / name) != known:
            raise InputError(f"{folder / name}: is missing or not what its checksum says: restore it")


def set_threshold(loaded: Loaded, source: Path, target: float, reader: Reader, key: str) -> dict[str, Any]:
    """In `loaded`; what was done."""
    sae, _ = load_dictionary(str(source), device=reader.device)
    tokens = reader.tokens
    most = tokens.n_heldout * (tokens.context_length - 1)
    threshold = threshold_for(sae, target, reader.heldout().rows, most, f"{key}.threshold_for_l0")
    before = loaded.weights["threshold"]
    loaded.weights["threshold"] = after = threshold.to(before)
    return {"for_l0": target, "mean_before": float(before.mean()), "mean_after": float(after.mean())}
