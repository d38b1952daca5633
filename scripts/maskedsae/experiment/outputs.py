"""Inputs of the report's rules: which figures a configuration has, what each is made from, and what was run."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from string import Formatter

from ..inference.published import FILES as PUBLISHED
from ..report.contents import FIGURES, OF_ALL_TRAINERS, is_tradeoff
from ..report.settings import DrawnFigure, StepSettings
from ..saes.cells import Cell, Imported
from .configuration import Configuration
from .grid import (
    SAE_FILES,
    TrainingJob,
    all_cells,
    imported,
    in_each,
    of_language_models,
    on_planted,
    published_scores,
    with_published,
)

Inputs = dict[str, str | list[str]]  # by name


def published_files(checkout: str | Path) -> list[str]:
    """The paper's published numbers, and the experiment behind them."""
    return [f"{checkout}/reference/{name}" for name in PUBLISHED]


def title(drawn: DrawnFigure) -> str:
    return FIGURES[drawn.figure]


def figures(config: Configuration) -> list[DrawnFigure]:
    """Those of all trainers side by side; then, of what the tables show, each trainer's own."""
    compared = config.tables or config.analysis.arms
    drawn = {
        "decides": config.analysis.endpoints and (compared or config.saes),
        "taken_apart": config.analysis.endpoints and compared,
        "convergence": config.report.convergence and compared,
    }
    found = [DrawnFigure(name, name, "") for name in OF_ALL_TRAINERS if drawn[name]]
    of_tables = [name for name in FIGURES if config.tables and name not in OF_ALL_TRAINERS]
    if not any(is_tradeoff(table.streams) for table in config.tables):
        of_tables = [name for name in of_tables if name != "tradeoff"]
    several = len(config.trainers) > 1
    return found + [
        DrawnFigure(f"{name}_{trainer}" if several else name, name, trainer)
        for trainer in config.trainers
        for name in of_tables
    ]


def figure_inputs(config: Configuration, drawn: DrawnFigure, cells: Sequence[Cell]) -> Inputs:
    """No more than the figure shows, so that it waits for nothing else."""
    if drawn.figure == "taken_apart":
        return {"contrasts": f"results/{config.run}/contrasts.csv"}
    if drawn.figure == "convergence":
        both = [cell for cell in cells if cell.trainer in config.report.convergence]
        return {"curves": in_each(both, "training.csv")}
    inputs: Inputs = {"scores": f"results/{config.run}/scores.csv"}
    if drawn.figure == "figure1":
        inputs["differences"] = f"results/{config.run}/ood_differences.json"
    if drawn.figure == "training":
        inputs["curves"] = in_each((cell for cell in cells if cell.trainer == drawn.trainer), "training.csv")
    return inputs


def page_inputs(config: Configuration, cells: Sequence[Cell], checkout: str | Path) -> Inputs:
    """What the page is made from. The benchmark files of what was run are no inputs: if one were lost, Snakemake would
    delete a finished training and run it again."""
    folder, drawn = f"results/{config.run}", figures(config)
    scored: list[Cell | Imported] = [*of_language_models(config, cells), *imported(config)]
    captions = sorted({figure.figure for figure in drawn}, key=list(FIGURES).index)
    return {
        "scores": f"{folder}/scores.csv",
        "contrasts": f"{folder}/contrasts.csv",
        "verdicts": f"{folder}/verdicts.json",
        "differences": f"{folder}/ood_differences.json",
        "figures": [f"{folder}/figures/{figure.file}.svg" for figure in drawn],
        "captions": [f"{checkout}/report/{figure}.rst" for figure in captions],
        "quality": in_each(cells, "sae/quality.json"),
        "provenance": in_each(cells, "sae/provenance.json"),
        "audits": in_each(cells, "audit.json"),
        "imported": in_each(imported(config), "sae/provenance.json"),
        "theirs": published_scores(config),
        "scoring": in_each(scored if config.saebench.asked else [], "scores/provenance.json"),
        "models": [f"{folder}/{model.name}/model.json" for model in config.language_models],
        "tokens": [f"{folder}/{model.name}/tokens/manifest.json" for model in config.language_models],
        "template": f"{checkout}/scripts/maskedsae/report/page.html",
        "css": f"{checkout}/scripts/maskedsae/report/page.css",
    }


def card_inputs(config: Configuration, cells: Sequence[Cell], checkout: str | Path) -> Inputs:
    """What is published, and the card's template; nothing where no repository is named, so that the job says so at
    once. SAEs on a planted truth are not published: they read no language model."""
    if config.publish is None:
        return {}
    saes = of_language_models(config, cells)
    return {
        "saes": [file for name in SAE_FILES for file in in_each(saes, f"sae/{name}")],
        "scores": f"results/{config.run}/scores.csv",
        "template": f"{checkout}/scripts/maskedsae/report/model_card.md",
    }


# Rules in the order in which they run, and their names in the report.
STEPS = {
    "world_text": "the demo's text",
    "world_lm": "the demo's language models",
    "model": "language models: files and facts",
    "tokens": "tokens",
    "truth": "planted truths: facts",
    "train": "SAEs",
    "fetch_sae": "imported SAEs: files",
    "import_sae": "imported SAEs",
    "published": "published scores of imported SAEs",
    "ood_activations": "activations for probes",
    "oracle": "oracles",
    "ood": "probes",
    "robustness_activations": "activations for robustness",
    "robustness": "robustness",
    "saebench_data": "SAEBench: data",
    "saebench_model": "SAEBench: language models",
    "saebench": "SAEBench: scores",
    "planted": "planted truths: scores",
    "audit": "audits",
}
ON_GPU = ("train", "import_sae", "ood_activations", "robustness_activations", "saebench_model", "saebench")


def steps(config: Configuration, jobs: Sequence[TrainingJob], benchmark_of: Callable[[str], str]) -> list[StepSettings]:
    """What was run for these jobs' cells; `benchmark_of` gives a rule's benchmark file, with wildcards."""
    gpus, cells = 0 if config.compute.device == "cpu" else 1, all_cells(jobs)
    planted = on_planted(config, jobs)
    on_the_hub = [entry.name for entry in config.saes if entry.origin.on_the_hub]
    saes = {
        "fetch_sae": [sae for sae in imported(config) if sae.sae in on_the_hub],
        "published": with_published(config),
    }
    generated = {
        "truth": [f"truth_{name}" for name in dict.fromkeys(job.model for job in planted)],
        "train": [f"train_{job.name}" for job in jobs],
        "planted": [f"planted_{job.name}" for job in planted],
        "fetch_sae": ["fetch_sae"] if saes["fetch_sae"] else [],
        "import_sae": ["import_sae"] if config.saes else [],
        "published": ["published"] if saes["published"] else [],
    }
    for score in ("ood", "robustness", "saebench") if config.saes else ():
        generated[score] = [score, f"{score}_imported"]
    left_out = {"world": not config.world, "saebench": not config.saebench.asked}
    found = []
    for step, words in STEPS.items():
        rules = generated.get(step, [step])
        if not rules or left_out.get(step.split("_")[0]):
            continue
        of: list[Cell | Imported] = [*cells, *saes.get(step, imported(config))]
        files = benchmark_files(config, of, [benchmark_of(rule) for rule in rules])
        provenance = in_each(cells, "sae/provenance.json") if step == "train" else []
        found.append(StepSettings(words, gpus if step in ON_GPU else 0, tuple(files), tuple(provenance)))
    return found


def benchmark_files(config: Configuration, saes: Iterable[Cell | Imported], patterns: Iterable[str]) -> list[str]:
    """The files that `patterns` with wildcards stand for: of each SAE, each model, each model that the run trains."""
    run: dict[str, object] = {"run": config.run}
    wildcards: list[dict[str, object]] = [vars(sae) for sae in saes]
    wildcards += [{**run, "model": model.name} for model in config.language_models]
    paths = {model.path for model in config.models}
    lms = config.world.language_models if config.world else ()
    wildcards += [{**run, "lm": lm.name} for lm in lms if f"results/{config.run}/world/{lm.name}" in paths]
    wildcards.append(run)
    files = []
    for pattern in patterns:
        wanted = {field for _, field, _, _ in Formatter().parse(pattern) if field}
        files += [pattern.format(**values) for values in (wildcards if wanted else [run]) if wanted <= values.keys()]
    return list(dict.fromkeys(files))
