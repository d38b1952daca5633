"""A run's files as the report reads them, with made-up numbers that tell the cells apart: SAEBench's forms and ours."""

import json
from copy import deepcopy
from itertools import product
from math import log
from pathlib import Path

import yaml
from snakemake.utils import update_config

from maskedsae.experiment.grid import figure_settings, l0_sets, page_settings, table_files, table_settings
from maskedsae.inference.published import FILES
from maskedsae.report import contents as plan
from maskedsae.report.figures.draw import draw
from maskedsae.report.make import write_report_tables
from maskedsae.scores.metrics import paper_metrics
from maskedsae.scores.ood.datasets import LABELS
from maskedsae.scores.table import Row, write_rows

ROOT = Path(__file__).parents[1]
PAPER = yaml.safe_load((ROOT / "config.yaml").read_text())
DEMO = deepcopy(PAPER)
update_config(DEMO, yaml.safe_load((ROOT / "profiles/demo/demo.yaml").read_text()))
ENDS = {"": 0, "_low": -0.02, "_high": 0.02}


def number(model: str, p: float, l0: int, seed: int, place: int) -> float:
    """A masked SAE is a little better, a larger l0 too, seeds differ."""
    return 0.3 + 0.1 * p + 0.03 * log(l0) + 0.01 * place + 0.003 * seed + 0.001 * len(model)


def rows_of(config: dict) -> list[Row]:
    """scores.csv's rows of all that tables and figures ask for."""
    keys = [metric.key for metric in paper_metrics(config["report"])]
    rows = []
    for model, dataset in product(config["models"], ("", *(f"{name}." for name in LABELS))):
        for test in ("auc", "in_distribution_auc"):
            place = (config["run"], model["name"], "oracle", *[None] * 4)
            rows.append(Row(*place, f"oracle.{dataset}{test}", 0.8, f"{model['name']}/oracle.json"))
    p_of = {stream["name"]: float(stream["p"]) for stream in config["streams"]}
    for cells in l0_sets(config, needed=True):
        p = p_of[cells.stream]
        for l0 in cells.l0s:
            of = {key: number(cells.model, p, l0, cells.seed, place) for place, key in enumerate(keys)}
            of["quality.l0"] = l0 / (1 - p)
            auc = number(cells.model, p, l0, cells.seed, 9)
            for place, dataset in enumerate(("", *(f"{name}." for name in LABELS))):
                of |= {f"ood.{dataset}auc{end}": auc + 0.01 * place + off for end, off in ENDS.items()}
            for k, test in product(config["ood"]["ks"], ("auc", "in_distribution_auc")):
                of[f"ood.{test}_top_{k}"] = auc - 0.1 / k + 0.05 * (test != "auc")
            cell = (cells.run, cells.model, cells.stream, p, cells.trainer, l0, cells.seed)
            rows += [Row(*cell, key, value, f"{cells.folder(l0)}/…") for key, value in of.items()]
    return rows


def differences_of(config: dict) -> list[dict]:
    """ood_differences.json, in agreement with rows_of."""
    p_of = {stream["name"]: float(stream["p"]) for stream in config["streams"]}
    found = []
    for cells in l0_sets(config, needed=True):
        for l0 in cells.l0s if p_of[cells.stream] else ():
            mean = 0.1 * p_of[cells.stream]
            facts = {
                test: {"mean": mean, "interval": [mean - 0.02, mean + 0.02]} for test in ("ood", "in_distribution")
            }
            cell = plan.Cell(cells.model, cells.stream, cells.trainer, l0, cells.seed)
            found.append(cell._asdict() | {"less": "clean"} | facts | {"sources": []})
    return found


def write_run(folder: Path, config: dict, dead: int = 10) -> None:
    """All that the report's rules read, in `folder`, which is the working directory."""
    results = folder / "results" / config["run"]
    results.mkdir(parents=True)
    write_rows(results / "scores.csv", rows_of(config))
    (results / "ood_differences.json").write_text(json.dumps(differences_of(config)))
    p_of = {stream["name"]: float(stream["p"]) for stream in config["streams"]}
    for cells in l0_sets(config, needed=True):
        for l0 in cells.l0s:
            sae = folder / cells.folder(l0) / "sae"
            sae.mkdir(parents=True)
            quality = {"nominal_l0": l0, "l0": l0 / (1 - p_of[cells.stream]), "explained_variance": 0.9}
            quality |= {"dead_latents": dead, "latents": 100, "tokens": 12345}
            (sae / "quality.json").write_text(json.dumps(quality))
            facts = {"revision": "abc", "versions": {"python": "3.11", "torch": "2.13.0", "cuda": None}}
            facts |= {"device": "cpu (x86_64)", "tokens": 921600, "steps": 1800}
            (sae / "provenance.json").write_text(json.dumps(facts))
            (sae.parent / "scores").mkdir()
            facts = {"revision": "def", "versions": {"python": "3.11", "sae-bench": "0.4.1"}, "device": "cpu (x86_64)"}
            (sae.parent / "scores" / "provenance.json").write_text(json.dumps(facts))
            curve = "step,tokens,loss,l0,explained_variance,dead_latents\n"
            curve += "".join(f"{i},{512 * i},{1 / (i + 1)},{l0},{1 - 1 / (i + 1)},{i}\n" for i in range(0, 1800, 50))
            (sae.parent / "training.csv").write_text(curve)
    for model in config["models"]:
        facts = {"name": model["name"], "hub": model["hub"], "commit": "0" * 40, "path": model["path"]}
        (results / model["name"] / "model.json").write_text(json.dumps(facts | {"layer": 1, "layers": 4}))
        tokens = {"corpus": {"files": ["corpus.jsonl"]}, "heldout": {"tokens": 5}}
        tokens["train"] = {"tokens": 921600, "documents": 7}
        (results / model["name"] / "tokens").mkdir()
        (results / model["name"] / "tokens" / "manifest.json").write_text(json.dumps(tokens))


def figure(config: dict, name: str, to: list[Path]) -> None:
    """Draws `name` of plan.FIGURES from the run in the working directory."""
    trainer, sets = config["trainers"][0], l0_sets(config, needed=True)
    inputs = plan.figure_inputs(config, name, trainer, sets)
    draw(inputs, figure_settings(config, name, trainer), [str(path) for path in to])


def page_of(config: dict, steps: list[dict]) -> tuple[dict, dict]:
    """What write_page takes, with figures and tables drawn; from the run in the working directory."""
    results = Path("results") / config["run"]
    for name in plan.figures(config):
        figure(config, name, [results / "figures" / f"{name}.svg"])
    to = {"tables": table_files(config), "verdicts": str(results / "verdicts.json")}
    reference = ROOT / "reference"
    write_report_tables(results / "scores.csv", reference, table_settings(config), to | {"summary": str(results / "s")})
    inputs = plan.page_inputs(config, l0_sets(config, needed=True), ROOT)
    inputs["published"] = [str(reference / name) for name in FILES]
    return inputs, page_settings(config) | {"steps": steps}
