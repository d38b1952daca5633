"""Refuses wrong entries of section `saes`, as checks.py does for the rest of the configuration."""

from collections.abc import Iterable

from ..jobs.errors import InputError
from ..saes.imported.described import Expected, check_agrees, described
from ..saes.imported.settings import WITH_THRESHOLDS, Baseline, ImportedSae, OfCell
from .configuration import Configuration
from .grid import made_here


def check_saes(config: Configuration) -> None:
    names, models = [entry.name for entry in config.saes], [model.name for model in config.models]
    for entry in config.saes:
        where, origin = f"configuration: saes: {entry.name}", entry.origin
        if names.count(entry.name) > 1:
            raise InputError(f"{where} is given twice: give each its own name")
        if entry.name in config.trainer_settings:
            raise InputError(f"{where} is a trainer's name, and scores.csv has both in one column: choose another")
        if entry.model not in models:
            raise InputError(f"{where}: model {entry.model} is none of models ({', '.join(models)})")
        if config.model(entry.model).planted is not None:
            raise InputError(f"{where}: model {entry.model} is planted, and these SAEs read language models: name one")
        if entry.published is not None and not config.saebench.asked:
            raise InputError(
                f"{where}: published needs an eval, and saebench.evals is empty: name one there, or leave out published"
            )
        if origin.cell is not None:
            _check_cell(config, origin.cell, f"{where}: from.cell")
        if origin.baseline is not None:
            _check_baseline(config, origin.baseline, f"{where}: from.baseline")


def local_folders(config: Configuration) -> list[tuple[ImportedSae, str]]:
    """Those that the workflow does not make itself."""
    folders = [(entry, entry.origin.folder) for entry in config.saes]
    return [(entry, folder) for entry, folder in folders if folder is not None and not made_here(config, folder)]


def check_folders(config: Configuration) -> None:
    """That each local folder has an SAE that reads what the model gives."""
    for entry, folder in local_folders(config):
        model = config.model(entry.model)
        try:
            check_agrees(described(folder), Expected(model.name, model.layer, width=None))
        except InputError as error:
            raise InputError(f"configuration: saes: {entry.name}: from.folder: {error}") from None


def _check_cell(config: Configuration, cell: OfCell, where: str) -> None:
    """It is in the grid, and has thresholds."""
    streams = [stream.name for stream in config.streams]
    baseline_l0 = config.analysis.baseline_l0 if config.analysis.arms else ()
    at_baseline = cell.stream in streams and config.stream(cell.stream).is_baseline
    known: tuple[tuple[str, object, str, Iterable[object]], ...] = (
        ("stream", cell.stream, "streams", streams),
        ("trainer", cell.trainer, "trainers", config.trainers),
        ("l0", cell.l0, "l0", (*config.l0, *(baseline_l0 if at_baseline else ()))),
        ("seed", cell.seed, "seeds", config.seeds),
    )
    for key, value, section, there in known:
        if value not in there:
            raise InputError(f"{where}.{key}: {value} is none of {section} ({', '.join(map(str, there))})")
    kind = config.trainer_settings[cell.trainer].kind
    if kind not in WITH_THRESHOLDS:
        raise InputError(
            f"{where}.threshold_for_l0: a {kind} SAE has no threshold: name one of {', '.join(WITH_THRESHOLDS)}"
        )


def _check_baseline(config: Configuration, baseline: Baseline, where: str) -> None:
    latents, k = baseline.latents, baseline.k
    if baseline.kind == "raw" and (latents or k):
        raise InputError(f"{where}: raw activations are kept whole: leave out latents and k")
    if baseline.kind == "pca" and latents and latents % 2:
        raise InputError(f"{where}.latents: {latents} is odd, and each direction has both signs: make it even")
    if baseline.kind == "random":
        latents = latents or config.training.dict_size
    if latents and (k or 1) > latents:
        raise InputError(f"{where}.k: {k} is larger than the number of latents ({latents})")
