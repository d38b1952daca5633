"""Which figures a configuration has, and what each is drawn from; asked by the rules, so nothing heavy here."""

from pathlib import Path
from string import Formatter
from typing import NamedTuple

from ..grid import L0Set

FIGURES = {
    "figure1": "Probes out of distribution",
    "achieved_l0": "Sparsity on clean text",
    "metrics_achieved": "Scores at the sparsity that SAEs really have",
    "metrics_nominal": "Scores at nominal l0",
    "tradeoff": "Absorption against explained variance",
    "auc_by_k": "Probes by number of latents",
    "ood_datasets": "Probes by data set",
    "training": "Training curves",
}


class Cell(NamedTuple):
    """What a path of the grid says: results/{run}/{model}/{stream}/{trainer}/l0_{l0}/seed_{seed}/…"""

    model: str
    stream: str
    trainer: str
    l0: int
    seed: int


def cell_of(path: str | Path) -> Cell:
    parts = Path(path).parts
    at = next(place for place, part in enumerate(parts) if part.startswith("l0_") and place >= 3)
    return Cell(*parts[at - 3 : at], int(parts[at][len("l0_") :]), int(parts[at + 1][len("seed_") :]))


def figures(config: dict) -> dict[str, tuple[str, str]]:
    """{name of the file: (figure, trainer)}; with several trainers, each has its own. Without tables there is none."""
    names = [name for name in FIGURES if name != "tradeoff" or tradeoff_tables(config["tables"])]
    names = names if config["tables"] else []
    several = len(config["trainers"]) > 1
    return {
        f"{name}_{trainer}" if several else name: (name, trainer) for trainer in config["trainers"] for name in names
    }


def tradeoff_tables(tables: list[dict]) -> list[dict]:
    """Those with several masked streams."""
    return [table for table in tables if len(table["streams"]) >= 3]


def figure_inputs(config: dict, figure: str, trainer: str, sets: list[L0Set]) -> dict[str, str | list[str]]:
    """{what it is: files}: each figure waits for no more than it shows."""
    inputs: dict[str, str | list[str]] = {"scores": f"results/{config['run']}/scores.csv"}
    if figure == "figure1":
        inputs["differences"] = f"results/{config['run']}/ood_differences.json"
    if figure == "training":
        of_trainer = [(cells, l0) for cells in sets if cells.trainer == trainer for l0 in cells.l0s]
        inputs["curves"] = [str(cells.folder(l0) / "training.csv") for cells, l0 in of_trainer]
    return inputs


# Rules, in the order of the work, and what the report calls them.
STEPS = {
    "world_text": "the demo's text",
    "world_lm": "the demo's language models",
    "model": "language models' facts",
    "tokens": "tokens",
    "train": "SAEs",
    "ood_activations": "activations for probes",
    "oracle": "oracles",
    "ood": "probes",
    "saebench_data": "SAEBench: data",
    "saebench_model": "SAEBench: language models",
    "saebench": "SAEBench: scores",
}
ON_GPU = ("train", "ood_activations", "saebench_model", "saebench")


def page_inputs(config: dict, sets: list[L0Set], checkout: str | Path) -> dict[str, str | list[str]]:
    """What the page is made from; not the benchmark files of what was run, since for a lost input Snakemake would
    delete a finished training and do it again."""
    folder = f"results/{config['run']}"
    files = figures(config)
    drawn = sorted({figure for figure, _ in files.values()}, key=list(FIGURES).index)
    models = [model["name"] for model in config["models"]]
    return {
        "scores": f"{folder}/scores.csv",
        "verdicts": f"{folder}/verdicts.json",
        "differences": f"{folder}/ood_differences.json",
        "figures": [f"{folder}/figures/{name}.svg" for name in files],
        "captions": [f"{checkout}/report/{figure}.rst" for figure in drawn],
        "quality": [str(cells.folder(l0) / "sae" / "quality.json") for cells in sets for l0 in cells.l0s],
        "provenance": [_provenance(cells, l0) for cells in sets for l0 in cells.l0s],
        "scoring": [str(cells.folder(l0) / "scores" / "provenance.json") for cells in sets for l0 in cells.l0s],
        "models": [f"{folder}/{model}/model.json" for model in models],
        "tokens": [f"{folder}/{model}/tokens/manifest.json" for model in models],
        "template": f"{checkout}/scripts/maskedsae/report/page.html",
        "css": f"{checkout}/scripts/maskedsae/report/page.css",
    }


def _provenance(cells: L0Set, l0: int) -> str:
    return str(cells.folder(l0) / "sae" / "provenance.json")


def steps(config: dict, sets: list[L0Set]) -> list[dict]:
    """In words, its rules, the GPUs that each job holds, as its rules have it, and one provenance.json a training."""
    gpus = 0 if config["compute"]["device"] == "cpu" else 1
    return [
        {
            "words": words,
            "rules": [f"train_{cells.name}" for cells in sets] if step == "train" else [step],
            "gpus": gpus if step in ON_GPU else 0,
            "provenance": [_provenance(cells, cells.l0s[0]) for cells in sets] if step == "train" else [],
        }
        for step, words in STEPS.items()
        if config["world"] or not step.startswith("world")
    ]


def jobs(config: dict, sets: list[L0Set], patterns: list[str]) -> list[str]:
    """The files that `patterns` with wildcards stand for: of each cell, of each model, of each homemade model."""
    run = {"run": config["run"]}
    places = [
        run | {"model": cells.model, "stream": cells.stream, "trainer": cells.trainer, "l0": l0, "seed": cells.seed}
        for cells in sets
        for l0 in cells.l0s
    ]
    places += [run | {"model": model["name"]} for model in config["models"]]
    paths = {model["path"] for model in config["models"]}
    homemade = [entry["name"] for entry in (config["world"] or {}).get("language_models", [])]
    places += [run | {"lm": name} for name in homemade if f"results/{config['run']}/world/{name}" in paths]
    places.append(run)
    files = []
    for pattern in patterns:
        wanted = {field for _, field, _, _ in Formatter().parse(pattern) if field}
        files += [pattern.format(**place) for place in places if wanted <= place.keys()]
    return list(dict.fromkeys(files))
