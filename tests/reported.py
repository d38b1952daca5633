"""A run's files as the report reads them, with made-up numbers that tell the cells apart: SAEBench's forms and ours."""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import product
from math import log
from pathlib import Path

import numpy as np
import yaml
from snakemake.utils import update_config

from maskedsae.experiment import outputs, settings
from maskedsae.experiment.checks import check
from maskedsae.experiment.configuration import Configuration
from maskedsae.experiment.grid import all_cells, table_files, training_jobs
from maskedsae.inference.make import write_inference
from maskedsae.inference.published import FILES
from maskedsae.inference.settings import Shown, ShownSae
from maskedsae.jobs.typed import plain
from maskedsae.report.contents import FIGURES
from maskedsae.report.figures.draw import draw
from maskedsae.report.make import write_report_tables
from maskedsae.report.settings import FigureSettings, PageSettings, StepSettings
from maskedsae.saes.cells import Cell
from maskedsae.scores.audit.points import POINTS, Finding, not_asked
from maskedsae.scores.metrics import BESIDE_ABSORPTION, OOD, ROBUSTNESS, SCORED_L0, scored_l0
from maskedsae.scores.ood.datasets import LABELS
from maskedsae.scores.ood.rows import Scored, write_scores
from maskedsae.scores.table import Row, write_rows

ROOT = Path(__file__).parents[1]
PAPER = yaml.safe_load((ROOT / "config.yaml").read_text())
DEMO = deepcopy(PAPER)
update_config(DEMO, yaml.safe_load((ROOT / "profiles/demo/demo.yaml").read_text()))

# Two trainers, compared by a figure of their own.
TWO = DEMO | {"trainers": ["matryoshka_batch_topk", "topk"]}
TWO |= {"report": DEMO["report"] | {"convergence": TWO["trainers"]}}

# Streams that could be mistaken for each other: three of one p, and two that mask nothing. The paper's own come last.
ALIKE_STREAMS = [
    {"name": "mask0", "corruption": {"kind": "mask", "p": 0}},
    {"name": "budget30", "corruption": {"kind": "mask", "p": 0.3}, "context": "clean"},
    {"name": "del30", "corruption": {"kind": "delete", "p": 0.3}},
    {"name": "clean"},
    {"name": "mask30", "p": 0.3},
]
ALIKE_NAMES = [stream["name"] for stream in ALIKE_STREAMS]
ALIKE = PAPER | {
    "streams": ALIKE_STREAMS,
    "tables": [
        {"name": "by-l0", "model": "pythia-160m-deduped", "streams": ALIKE_NAMES, "l0": None},
        {"name": "by-stream", "model": "pythia-160m-deduped", "streams": ALIKE_NAMES, "l0": [20]},
    ],
}
# Six published SAEs of each model in one group, and a baseline of one of them alone.
FAMILY = "SAEBench's Matryoshka"
IMPORTED = [
    {"name": f"{family}-{i}", "model": model, "from": {"folder": f"elsewhere/{family}-{i}"}, "group": FAMILY}
    for family, model in (("pythia", "pythia-160m-deduped"), ("gemma", "gemma-2-2b"))
    for i in range(6)
]
IMPORTED.append({"name": "pca", "model": "gemma-2-2b", "from": {"baseline": {"kind": "pca"}}})

# What tells the numbers of these apart from those of the paper's streams.
OWN = {"mask0": 0.011, "budget30": 0.017, "del30": 0.023}

ENDS = {"": 0, "_low": -0.02, "_high": 0.02}


def checked(config: dict) -> Configuration:
    return check(deepcopy(config))


def shown_of(config: dict, **changes) -> Shown:
    return replace(settings.shown(checked(config)), **changes)


def cells_of(config: dict) -> list[Cell]:
    """Those that the tables need."""
    return all_cells(training_jobs(checked(config), needed=True))


def number(model: str, p: float, l0: int, seed: int, place: int, stream: str = "") -> float:
    """A masked SAE is a little better, a larger l0 too, seeds differ."""
    return 0.3 + 0.1 * p + 0.03 * log(l0) + 0.01 * place + 0.003 * seed + 0.001 * len(model) + OWN.get(stream, 0)


def achieved(cell: Cell, p: float) -> float:
    return cell.l0 / (1 - p) * (1 + OWN.get(cell.stream, 0))


def rows_of(config: dict) -> list[Row]:
    """scores.csv's rows of all that tables and figures ask for."""
    shown = shown_of(config)
    rows = []
    for model, dataset in product(shown.models, ("", *(f"{name}." for name in LABELS))):
        for test in ("auc", "in_distribution_auc"):
            place = (shown.run, model.name, "oracle", *[None] * 4)
            rows.append(Row(*place, f"oracle.{dataset}{test}", 0.8, f"results/{shown.run}/{model.name}/oracle.json"))
    for cell in cells_of(config):
        p = shown.stream(cell.stream).p
        place = (cell.model, p, cell.l0, cell.seed)
        found = {metric.key: number(*place, i, cell.stream) for i, metric in enumerate(shown.report.metrics)}
        found |= {metric.key: number(*place, 10 + i, cell.stream) for i, metric in enumerate(BESIDE_ABSORPTION)}
        found |= {metric.key: number(*place, 20 + i, cell.stream) for i, metric in enumerate(ROBUSTNESS)}
        found |= dict.fromkeys(("quality.l0", ROBUSTNESS[0].l0), achieved(cell, p))
        found |= {key: achieved(cell, p) + i for i, key in enumerate(SCORED_L0.values(), 1)}
        auc = number(*place, 9, cell.stream)
        for i, dataset in enumerate(("", *(f"{name}." for name in LABELS))):
            found |= {f"ood.{dataset}auc{end}": auc + 0.01 * i + off for end, off in ENDS.items()}
        for k, test in product(config["ood"]["ks"], ("auc", "in_distribution_auc")):
            found[f"ood.{test}_top_{k}"] = auc - 0.1 / k + 0.05 * (test != "auc")
        about = (cell.run, cell.model, cell.stream, p, cell.trainer, cell.l0, cell.seed)
        (files,) = (model.scores for model in shown.models if model.name == cell.model)
        for key, value in found.items():
            if key in SCORED_L0.values():
                if key not in scored_l0(files).values():
                    continue
            elif key.split(".")[0] not in files:
                continue
            folder = "sae" if key == "quality.l0" else "scores"
            rows.append(Row(*about, key, value, f"{cell.folder}/{folder}/{key.split('.')[0]}.json"))
    for place, sae in enumerate(shown.imported):
        rows += imported_rows(shown, sae, 21.0 * 2 ** (place % 6) if sae.group else 1500.0, place)
    return rows


def imported_rows(shown: Shown, sae: ShownSae, l0: float, place: int) -> list[Row]:
    """As rows_of, for an SAE that the grid did not train."""
    metrics = [*shown.report.all_metrics, *ROBUSTNESS, OOD]
    found = {metric.key: 0.35 + 0.03 * log(l0) + 0.004 * i for i, metric in enumerate(metrics)}
    found |= {"quality.l0": l0, "quality.explained_variance": 0.8 + 0.001 * place}
    folder = shown.sae(sae).folder
    (files,) = (model.scores for model in shown.models if model.name == sae.model)
    return [
        Row(
            *(shown.run, sae.model, "imported", None, sae.name, None, None, key, value),
            f"{folder}/{'sae' if key.startswith('quality') else 'scores'}/{key.split('.')[0]}.json",
        )
        for key, value in found.items()
        if key.split(".")[0] in files
    ]


def differences_of(config: dict) -> list[dict]:
    """ood_differences.json, in agreement with rows_of."""
    shown, found = shown_of(config), []
    for cell in cells_of(config):
        if cell.stream != "clean":
            mean = 0.1 * shown.stream(cell.stream).p + OWN.get(cell.stream, 0)
            facts = {
                test: {"mean": mean, "interval": [mean - 0.02, mean + 0.02]} for test in ("ood", "in_distribution")
            }
            place = {key: getattr(cell, key) for key in ("model", "stream", "trainer", "l0", "seed")}
            found.append(place | {"less": "clean"} | facts | {"sources": []})
    return found


def probed_rows() -> list[Scored]:
    """Test rows of a probe: a few, all alike, since no test looks at what is made of them."""
    sets = product(("one", "other"), ("ood", "in_distribution"))
    return [Scored(*key, np.arange(4), np.arange(4) % 2, np.arange(4.0)) for key in sets]


def audits_of(cell: Cell) -> list[dict]:
    """A masked SAE has dead latents, and had a variance that rose; the probes on it are alarmed more often."""
    masked = cell.stream == "mask30"
    found = dict.fromkeys(POINTS, Finding(0.01, 1.0))
    found |= {"l1": not_asked("the trainer has no L1 penalty"), "masked": not_asked("the trainer masks no latent")}
    found["dead"] = Finding(0.08, 0.05, True) if masked else Finding(0.02, 0.05)
    found["checksums"] = Finding(0, 0)
    found["variance"] = Finding(0.9, 1.05, baseline=1)
    found["false_positives"] = Finding(0.236, 0.22, True, baseline=0.2) if masked else Finding(0.2, 0.22, baseline=0.2)
    risen = found | {"variance": Finding(1.5, 1.05, True, baseline=1)}
    every = [risen, found, found] if masked else [found] * 3
    return [
        {"step": 900 * n, "fires": [name for name in POINTS if points[name].fires], "points": plain(points)}
        for n, points in enumerate(every, 1)
    ]


def write_run(folder: Path, config: dict, dead: int = 10, step: str = "stock") -> None:
    """All that the report's rules read, in `folder`, which is the working directory."""
    shown = shown_of(config)
    results = folder / "results" / shown.run
    results.mkdir(parents=True)
    write_rows(results / "scores.csv", rows_of(config))
    (results / "ood_differences.json").write_text(json.dumps(differences_of(config)))
    published = [str(ROOT / "reference" / name) for name in FILES]
    to = [str(results / name) for name in ("contrasts.csv", "verdicts.json")]
    write_inference(results / "scores.csv", published, shown, *to)
    for cell in cells_of(config):
        p = shown.stream(cell.stream).p
        sae = folder / cell.folder / "sae"
        sae.mkdir(parents=True)
        quality = {"nominal_l0": cell.l0, "l0": achieved(cell, p), "dead_latents": dead, "latents": 100}
        quality |= {"tokens": 12345, "explained_variance": 0.9, "explained_variance_but_for_a_constant": 0.95}
        (sae / "quality.json").write_text(json.dumps(quality))
        facts = {"revision": "abc", "versions": {"python": "3.11", "torch": "2.13.0", "cuda": None}}
        facts |= {"device": "cpu (x86_64)", "tokens": 921600, "steps": 1800}
        own = {"training": {"step": step}, "trainer": {"kind": checked(config).trainer_settings[cell.trainer].kind}}
        facts |= {"trained_with": [cell.name], "wall_seconds": 60, "settings": own}
        (sae / "provenance.json").write_text(json.dumps(facts))
        (sae.parent / "scores").mkdir()
        write_scores(sae.parent / "scores" / "ood_rows.csv", probed_rows())
        facts = {"revision": "def", "versions": {"python": "3.11", "sae-bench": "0.4.1"}, "device": "cpu (x86_64)"}
        (sae.parent / "scores" / "provenance.json").write_text(json.dumps(facts))
        loss = number(cell.model, p, cell.l0, cell.seed, 0, cell.stream)
        curve = "step,tokens,loss,l0,explained_variance,dead_latents,loss_variance\n"
        variance = loss * (0.1 if cell.trainer == "topk" else 0.2)
        curve += "".join(
            f"{i},{512 * i},{loss / (i + 1)},{cell.l0},{1 - 1 / (i + 1)},{i},{variance / (i + 1)}\n"
            for i in range(0, 1800, 50)
        )
        (sae.parent / "audit.json").write_text(json.dumps({"thresholds": {}, "audits": audits_of(cell)}))
        (sae.parent / "training.csv").write_text(curve)
    for sae in shown.imported:
        write_imported(folder / shown.sae(sae).folder, sae)
    for model in shown.models:
        facts = {"name": model.name, "hub": model.hub, "commit": "0" * 40, "path": model.path}
        (results / model.name / "tokens").mkdir(parents=True)
        write_scores(results / model.name / "oracle_rows.csv", probed_rows())
        (results / model.name / "model.json").write_text(json.dumps(facts | {"layer": 1, "layers": 4}))
        tokens = {"corpus": {"dataset": "owner/text", "revision": "c0ffee"}, "heldout": {"tokens": 5}}
        tokens["train"] = {"tokens": 921600, "documents": 7}
        (results / model.name / "tokens" / "manifest.json").write_text(json.dumps(tokens))


def write_imported(folder: Path, sae: ShownSae) -> None:
    (folder / "sae").mkdir(parents=True)
    (folder / "scores").mkdir()
    quality = {"l0": 21.0, "dead_latents": 7, "latents": 4096, "tokens": 12345, "explained_variance": 0.8}
    (folder / "sae/quality.json").write_text(json.dumps(quality))
    source = {"repository": "someone/saes", "commit": "c0ffee" * 6 + "beef", "folder": f"layer/{sae.name}"}
    origin = {"dictionary_learning": {"repository": "someone/saes", "folder": f"layer/{sae.name}"}, "source": source}
    origin |= {"files": {"ae.pt": "ab12" * 16, "config.json": "cd34" * 16}, "folded": ["decoder norms"]}
    if sae.group is None:
        origin = {"baseline": {"kind": "pca"}}
    facts = {"revision": "abc", "versions": {"python": "3.11"}, "device": "cpu (x86_64)", "origin": origin}
    (folder / "sae/provenance.json").write_text(json.dumps(facts))
    facts = {"revision": "def", "versions": {"python": "3.11", "sae-bench": "0.4.1"}, "device": "cpu (x86_64)"}
    (folder / "scores/provenance.json").write_text(json.dumps(facts))


def drawn(config: dict, name: str, trainer: str | None = None) -> tuple[outputs.Inputs, FigureSettings]:
    """What draws `name` of FIGURES from the run in the working directory."""
    assert name in FIGURES
    configuration = checked(config)
    (asked,) = (
        figure
        for figure in outputs.figures(configuration)
        if figure.figure == name and figure.trainer in ("", trainer or config["trainers"][0])
    )
    inputs = outputs.figure_inputs(configuration, asked, cells_of(config))
    return inputs, settings.figure_settings(configuration, asked)


def figure(config: dict, name: str, to: Sequence[Path]) -> None:
    draw(*drawn(config, name), [str(path) for path in to])


def page_of(config: dict, steps: Sequence[StepSettings]) -> tuple[outputs.Inputs, PageSettings]:
    """What write_page takes, with figures and tables drawn; from the run in the working directory."""
    given = deepcopy(config)
    configuration = check(given)
    results = Path("results") / configuration.run
    figures = outputs.figures(configuration)
    for each in figures:
        draw(*drawn(config, each.figure, each.trainer), [str(results / "figures" / f"{each.file}.svg")])
    published = [str(ROOT / "reference" / name) for name in FILES]
    inputs = outputs.page_inputs(configuration, cells_of(config), ROOT) | {"published": published}
    write_report_tables(
        results / "scores.csv",
        inputs["verdicts"],
        published,
        list(inputs["theirs"]),
        settings.shown(configuration),
        tables_to=table_files(configuration),
        summary_to=str(results / "summary.txt"),
    )
    return inputs, settings.page_settings(configuration, figures, steps, given)
