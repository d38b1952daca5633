"""The page that a hub shows of published SAEs: what they are, how they score and how to load them."""

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from ..jobs.errors import InputError
from ..jobs.files import read_sums, sha256, write_bytes
from ..jobs.log import log
from ..saes.cells import Cell
from ..scores.table import Scores, read_rows
from . import words
from .records import Sae, read_saes
from .settings import CardSettings
from .style import label
from .tables import rounded
from .upload import SUMS, check, destination, path_of

TAGS = ["sparse-autoencoder", "saelens", "dictionary_learning", "saebench", "mechanistic-interpretability"]


def write_card(inputs: dict[str, Any], settings: CardSettings, card_to: str, sums_to: str) -> None:
    """The card, and SHA256SUMS of all that is to be sent. Every SAE is checked against its own SHA256SUMS."""
    publish, shown = destination(settings.publish), settings.shown
    files = [Path(file) for file in inputs["saes"]]
    if not files:
        raise InputError(
            "publish: the tables and the analysis need no SAE of a language model, so there is none to send"
        )
    for path in files:
        if path.name == SUMS:
            for name, expected in read_sums(path).items():
                check(path.with_name(name), expected, path)
    run = Path(sums_to).parents[1]
    saes = read_saes([str(path) for path in files if path.name == "quality.json"])
    template = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    scores = Scores(read_rows(inputs["scores"]))
    card = template.from_string(Path(inputs["template"]).read_text()).render(
        metadata=yaml.safe_dump(metadata(saes, settings), sort_keys=False, allow_unicode=True),
        repository=publish.repository,
        run=shown.run,
        demo=shown.demo,
        lead=words.lead(saes, shown),
        others=len(scores.saes - {sae.cell for sae in saes}),
        first=folder_of(saes[0].cell, run),
        models=models(saes, settings, scores, run),
        metrics=shown.report.metrics,
        streams=[(s.name, label(s, shown.streams)) for s in shown.streams if s.name in {x.cell.stream for x in saes}],
        caveats=[*words.warnings(saes), *words.caveats(shown)],
        revisions=sorted({sae.provenance["revision"] for sae in saes}),
        versions=versions(saes),
        devices=sorted({sae.provenance["device"] for sae in saes}),
    )
    write_bytes(card_to, card.encode())
    names = [Path(card_to).name, Path(inputs["scores"]).name, *(place_of(path, run) for path in files)]
    lines = [f"{sha256(path_of(name, run))}  {name}\n" for name in sorted(names)]
    write_bytes(sums_to, "".join(lines).encode())
    log.info("%s: %d SAEs, %d files in %s; nothing was sent", card_to, len(saes), len(names), sums_to)


def folder_of(cell: Cell, run: Path) -> str:
    """Of an SAE in the repository."""
    return cell.folder.relative_to(Cell.FOLDER.split("/")[0], run.name).as_posix()


def place_of(path: Path, run: Path) -> str:
    return f"{folder_of(Cell.parse(path), run)}/{path.name}"


def metadata(saes: list[Sae], settings: CardSettings) -> dict[str, Any]:
    """What the hub reads: https://huggingface.co/docs/hub/model-cards."""
    assert settings.publish is not None
    hubs = sorted({facts(sae)["hub"] for sae in saes if facts(sae)["hub"]})
    dataset = settings.shown.corpus["dataset"]
    known = {
        "license": settings.publish.license,
        "library_name": "saelens",
        "base_model": hubs,
        "datasets": [dataset] if dataset else [],
        "tags": TAGS,
    }
    return {key: value for key, value in known.items() if value}


def facts(sae: Sae) -> dict[str, Any]:
    """Of its language model."""
    found: dict[str, Any] = sae.provenance["settings"]["model_facts"]
    return found


def models(saes: list[Sae], settings: CardSettings, scores: Scores, run: Path) -> list[dict[str, Any]]:
    """Each language model with a row for each of its SAEs."""
    found = []
    for name in dict.fromkeys(sae.cell.model for sae in saes):
        own = [sae for sae in saes if sae.cell.model == name]
        known = facts(own[0])
        commit = f" at {known['commit']}" if known["commit"] else ""
        found.append(
            {
                "name": name,
                "source": f"{known['hub']}{commit}" if known["hub"] else "a local model",
                "layer": known["layer"],
                "width": known["width"],
                "rows": [row(sae, settings, scores, run) for sae in own],
            }
        )
    return found


def row(sae: Sae, settings: CardSettings, scores: Scores, run: Path) -> dict[str, Any]:
    metrics = settings.shown.report.metrics
    measured = [
        rounded(metric.scaled(scores.value(sae.cell, metric.key)), 2) if scores.has(sae.cell, metric.key) else "—"
        for metric in metrics
    ]
    return {
        "folder": folder_of(sae.cell, run),
        "latents": sae.quality["latents"],
        "dead": sae.quality["dead_latents"],
        "tokens": f"{sae.provenance['tokens'] / 1e6:.4g}M",
        "l0": f"{sae.quality['l0']:.1f}",
        "explained": rounded(100 * sae.quality["explained_variance"], 2),
        "scores": measured,
    }


def versions(saes: list[Sae]) -> list[str]:
    found: dict[str, set[str]] = {}
    for sae in saes:
        for name, version in sae.provenance["versions"].items():
            if version:
                found.setdefault(name, set()).add(version)
    return [f"{name} {' and '.join(sorted(values))}" for name, values in found.items()]
