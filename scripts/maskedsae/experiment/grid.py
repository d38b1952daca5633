"""The grid that a configuration spells out: its cells, the jobs that train them, and the files that each has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

from ..activations.settings import Stream
from ..inference.settings import ShownTable, needed_l0s
from ..jobs.files import read_json
from ..saes.cells import Cell as Cell
from ..saes.cells import Imported as Imported
from ..saes.cells import joint_name
from ..saes.imported.described import OURS, files_of
from ..scores.saebench.names import EVALS, given_by
from .configuration import Configuration, Model

SAE_FILES = (
    *("ae.pt", "config.json", "cfg.json", "sae_weights.safetensors"),
    *("SHA256SUMS", "provenance.json", "quality.json"),
)
OUR_SCORES = ("ood", "robustness", "parents")  # beside SAEBench's
PLANTED_SCORES = ("planted",)  # of SAEs on a planted truth, which has no text


T = TypeVar("T")


@dataclass(frozen=True)
class TrainingJob:
    """The cells that one job trains: every combination of some trainers, l0s and seeds that read one stream."""

    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        return joint_name(self.cells)

    @property
    def run(self) -> str:
        return self.cells[0].run

    @property
    def model(self) -> str:
        return self.cells[0].model

    @property
    def stream(self) -> str:
        return self.cells[0].stream

    @property
    def trainers(self) -> list[str]:
        return list(dict.fromkeys(cell.trainer for cell in self.cells))

    def files(self) -> list[str]:
        return [file for cell in self.cells for file in sae_files(cell)]


def sae_files(cell: Cell) -> list[str]:
    """The files that training makes in a cell's folder."""
    return [f"{cell.folder}/training.csv", *imported_files(cell)]


def imported(config: Configuration) -> list[Imported]:
    """The SAEs of section `saes`."""
    return [Imported(config.run, entry.model, entry.name) for entry in config.saes]


def imported_files(sae: Cell | Imported) -> list[str]:
    """The files of an SAE without its training."""
    return [f"{sae.folder}/sae/{name}" for name in SAE_FILES]


def of_language_models(config: Configuration, cells: Iterable[Cell]) -> list[Cell]:
    """Those that have texts: not SAEs on a planted truth."""
    return [cell for cell in cells if config.model(cell.model).planted is None]


def saebench_scores(config: Configuration) -> tuple[str, ...]:
    """Those of the evals that are asked for."""
    return given_by(config.saebench.asked)


def score_names(config: Configuration, model: Model) -> tuple[str, ...]:
    return (*saebench_scores(config), *OUR_SCORES) if model.planted is None else PLANTED_SCORES


def source_files(config: Configuration, name: str) -> list[str]:
    """What an SAE of section `saes` is made from, besides the language model."""
    entry = config.imported(name)
    origin = entry.origin
    if origin.on_the_hub:
        return [f"{Imported(config.run, entry.model, name).folder}/source/manifest.json"]
    if origin.cell is not None:
        folder = str(origin.cell.cell(config.run, entry.model).folder / "sae")
    elif origin.folder is not None:
        folder = origin.folder
    else:
        return []
    # What is made here may not be there yet.
    return [f"{folder}/{file}" for file in (OURS if made_here(config, folder) else files_of(folder))]


def made_here(config: Configuration, folder: str) -> bool:
    """Whether it is the `sae` of a cell or of an entry of `saes`; a user's own may stand in results/ too."""
    if not folder.startswith(f"results/{config.run}/"):
        return False
    cells = [cell for needed in (True, False) for cell in all_cells(training_jobs(config, needed))]
    return folder in in_each([*cells, *imported(config)], "sae")


def probe_rows(config: Configuration, cell: Cell) -> list[str]:
    """The test rows' scores by probes on the SAE, and on its language model's activations."""
    if config.model(cell.model).planted is not None:
        return []
    return [f"{cell.folder}/scores/ood_rows.csv", f"results/{cell.run}/{cell.model}/oracle_rows.csv"]


def score_files(config: Configuration, sae: Cell | Imported) -> list[str]:
    return [f"{sae.folder}/scores/{name}.json" for name in score_names(config, config.model(sae.model))]


def measured_files(config: Configuration, saes: Iterable[Cell | Imported]) -> list[str]:
    """What scores.csv is made of: each SAE's score files and its measures on clean text."""
    return [file for sae in saes for file in (*score_files(config, sae), f"{sae.folder}/sae/quality.json")]


def in_each(saes: Iterable[Cell | Imported], file: str) -> list[str]:
    """This file of each SAE."""
    return [f"{sae.folder}/{file}" for sae in saes]


def shown_tables(config: Configuration) -> tuple[ShownTable, ...]:
    """The tables, with their l0s from the smallest; null means every l0 of the grid."""
    return tuple(
        ShownTable(
            table.name, table.model, table.streams, tuple(sorted(config.l0 if table.l0 is None else set(table.l0)))
        )
        for table in config.tables
    )


def training_jobs(config: Configuration, needed: bool) -> list[TrainingJob]:
    """The jobs whose SAEs the tables and the analysis need, or those of the rest of the grid.

    `l0_sets` says which l0s share a job, `trainer_sets` which trainers, `seeds_per_stream` how many seeds. What is in
    none of them has a job of its own, so that later additions leave the finished ones alone (when a job's outputs grow,
    Snakemake makes all of them again).
    """
    tables = shown_tables(config)
    trainer_groups, seeds_of_streams = grouped(config.trainers, config.trainer_sets), seed_groups(config)
    jobs = []
    for model, stream in product(config.models, config.streams):
        analysed = config.analysis.needed_l0s(model.name, stream, config.l0)
        wanted_l0s = {*needed_l0s(tables, model.name, stream.name), *analysed}
        l0_groups = grouped(tuple(dict.fromkeys((*config.l0, *analysed))), config.l0_sets)
        for trainers, l0s, seeds in product(trainer_groups, l0_groups, seeds_of_streams):
            wanted = [l0 for l0 in l0s if (l0 in wanted_l0s) == needed]
            cells = tuple(
                Cell(config.run, model.name, stream.name, trainer, l0, seed)
                for trainer, l0, seed in product(trainers, wanted, seeds)
            )
            jobs += [TrainingJob(cells)] if cells else []
    return jobs


def grouped(values: tuple[T, ...], sets: tuple[tuple[T, ...], ...]) -> list[list[T]]:
    """The sets without what is not in `values`; and each of `values` that is in none of them as a set of its own."""
    found = [[value for value in group if value in values] for group in sets]
    found += [[value] for value in values if not any(value in group for group in sets)]
    return [group for group in found if group]


def seed_groups(config: Configuration) -> list[list[int]]:
    """Groups of seeds that read one stream, in their order in the configuration."""
    groups: dict[int, list[int]] = {}
    for seed in config.seeds:
        groups.setdefault(config.stream_seed(seed), []).append(seed)
    return list(groups.values())


def on_planted(config: Configuration, jobs: Iterable[TrainingJob]) -> list[TrainingJob]:
    """Those whose model is a planted truth."""
    return [job for job in jobs if config.model(job.model).planted is not None]


def all_cells(jobs: Iterable[TrainingJob]) -> list[Cell]:
    return [cell for job in jobs for cell in job.cells]


def oracles(config: Configuration) -> list[str]:
    return [f"results/{config.run}/{model.name}/oracle.json" for model in config.language_models]


def reference_cell(config: Configuration, model: str, cells: Iterable[Cell]) -> Cell | None:
    """The SAE in which rule mechanism looks for parents and children: of the baseline and the first trainer, the one
    with the smallest l0 and the first seed."""
    if not mechanism_streams(config):
        return None
    baselines = {stream.name for stream in config.streams if stream.is_baseline}
    fitting = [cell for cell in cells if cell.model == model and cell.stream in baselines]
    fitting = [cell for cell in fitting if cell.trainer == config.trainers[0] and cell.seed == config.seeds[0]]
    return min(fitting, key=lambda cell: cell.l0, default=None)


def mechanism_streams(config: Configuration) -> list[Stream]:
    """Those whose rows have seen masked contexts; none where SAEBench's absorption of letters is not asked for."""
    if "absorption" not in config.saebench.asked:
        return []
    corrupted = [stream for stream in config.streams if stream.corruption and stream.context == "corrupted"]
    return [stream for stream in corrupted if stream.corruption and stream.corruption.kind == "mask"]


def mechanisms(config: Configuration, cells: Sequence[Cell]) -> list[str]:
    models = [model.name for model in config.language_models if reference_cell(config, model.name, cells)]
    return [f"results/{config.run}/{model}/mechanism.json" for model in models]


def table_files(config: Configuration) -> list[str]:
    names = [table.name for table in config.tables]
    names += ["imported"] * bool(config.saes) + ["published"] * bool(with_published(config))
    return [f"results/{config.run}/tables/{name}.{kind}" for name in names for kind in ("csv", "md", "tex")]


def with_published(config: Configuration) -> list[Imported]:
    """The SAEs of which others published scores."""
    return [sae for sae, entry in zip(imported(config), config.saes, strict=True) if entry.published]


def published_scores(config: Configuration) -> list[str]:
    """What ours less theirs is made of, besides scores.csv: their results, and ours with their settings."""
    evals = [name for name in EVALS if name in config.saebench.asked]
    names = ["published", *(f"scores/{name}" for name in evals)]
    return [f"{sae.folder}/{name}.json" for sae in with_published(config) for name in names]


def published_inputs(config: Configuration, name: str) -> list[str]:
    """The local files of an entry's published scores."""
    published = config.imported(name).published
    if published is None or published.path is None:
        return []
    path = Path(published.path)
    return [str(path)] if path.is_file() else sorted(map(str, path.rglob("*_eval_results.json")))


def local_model_files(path: str) -> list[str]:
    """The files of a Hugging Face model directory that decide its activations; all of them if it does not exist yet."""
    index = Path(path, "model.safetensors.index.json")
    names = ["config.json", "tokenizer.json"]
    names += sorted(set(read_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]
    if not Path(path).is_dir() or Path(path, "tokenizer_config.json").exists():
        names.append("tokenizer_config.json")
    return [f"{path}/{name}" for name in names]
