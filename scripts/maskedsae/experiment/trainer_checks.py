"""Refuses wrong entries of trainer_settings, as checks.py does for the rest of the configuration."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from ..jobs.errors import InputError
from ..saes.settings import Trainer
from .configuration import Configuration
from .grid import all_cells, training_jobs
from .schema import as_yaml, check_values


def check_entries(config: dict[str, Any], schema: dict[str, Any]) -> None:
    """An entry with a name of its own may have every key of its kind."""
    kinds, entries = schema["properties"]["trainer_settings"]["properties"], config["trainer_settings"]
    for name, entry in entries.items():
        where = f"configuration: trainer_settings.{name}"
        if name in kinds and entry.get("kind", name) != name:
            raise InputError(f"{where}.kind: {name} is a kind itself: give an entry of another kind a name of its own")
        if entry.get("kind", name) not in kinds:
            asked = entry.get("kind")
            close = get_close_matches(str(asked or name), list(kinds), n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            what = "missing: it is" if asked is None else f"{as_yaml(asked)} is not"
            raise InputError(f"{where}.kind: {what} one of {', '.join(kinds)}{hint}")
        kind_schema = {"$defs": schema["$defs"], **kinds[entry.get("kind", name)]}
        whole = {**entries[entry.get("kind", name)], **entry}
        check_values(whole, kind_schema, f"trainer_settings.{name}")
    for name in config["trainers"]:
        if name not in entries:
            close = get_close_matches(name, list(entries), n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(f"configuration: trainers: {name} is not one of {', '.join(entries)}{hint}")


def check_trainer(config: Configuration, trainer: Trainer) -> None:
    """One that the grid has."""
    _check_schedule(config, trainer)
    _check_penalties(config, trainer)


def _check_schedule(config: Configuration, trainer: Trainer) -> None:
    settings, where = trainer.settings, f"configuration: trainer_settings.{trainer.name}"
    steps = config.training.steps
    decay = int(settings["decay_start"] * steps)
    for key in ("warmup_steps", "sparsity_warmup_steps"):
        if settings.get(key, 0) >= decay:
            raise InputError(
                f"{where}.{key}: {settings[key]} steps reach beyond decay_start ({decay} of {steps} steps)"
            )
    if decay >= steps:
        raise InputError(f"{where}.decay_start: {settings['decay_start']} leaves no step of {steps} to decay in")
    if settings.get("threshold_start_step", 0) >= steps - 1:
        raise InputError(
            f"{where}.threshold_start_step: {settings['threshold_start_step']} is not reached in {steps} steps, and "
            "without a threshold the SAE cannot be used: lower it, or raise training.tokens"
        )
    if settings.get("anneal_start", 0) + settings.get("n_sparsity_updates", 0) > steps:
        raise InputError(
            f"{where}.anneal_start: {settings['anneal_start']} leaves too few of {steps} steps for "
            f"n_sparsity_updates ({settings['n_sparsity_updates']}): lower it"
        )
    fractions = settings.get("group_fractions", [1])
    if abs(sum(fractions) - 1) > 1e-9:
        raise InputError(f"{where}.group_fractions: sum to {sum(fractions):g}, not to 1")
    smallest = min(fractions) * trainer.dict_size
    if smallest < 1:
        raise InputError(f"{where}.group_fractions: {min(fractions)} of {trainer.dict_size} latents is none")


def _check_penalties(config: Configuration, trainer: Trainer) -> None:
    """What stands in place of an l0 must be there for each l0 that is trained."""
    where = f"configuration: trainer_settings.{trainer.name}"
    for key, given in trainer.settings.items():
        for l0 in given if isinstance(given, Mapping) else ():
            if not str(l0).isdigit():
                raise InputError(
                    f"{where}.{key}: {as_yaml(l0)} is not an l0: give a penalty for each nominal l0, {{20: 0.03}}"
                )
    l0s = {cell.l0 for needed in (True, False) for cell in all_cells(training_jobs(config, needed))}
    for key, penalties in trainer.by_l0.items():
        if lacking := [str(l0) for l0 in sorted(l0s - set(penalties))]:
            raise InputError(
                f"{where}.{key}: nothing is given for l0 {', '.join(lacking)}: {trainer.kind} aims at no l0, so give a "
                "penalty for each one that is trained"
            )
