"""report.html: one self-contained file, from scores.csv, figures and the records of the run."""

from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ..inference.contrasts import read_contrasts
from ..inference.equal_l0 import TOLERANCE
from ..inference.published import read_published
from ..inference.settings import Shown
from ..inference.verdicts import NOT_TESTED
from ..jobs.errors import InputError
from ..jobs.files import read_json, read_list, write_bytes
from ..jobs.log import log
from ..scores.audit.points import POINTS
from ..scores.metrics import scored_l0
from ..scores.table import Scores, read_rows
from . import answer, audits, html, imported, listing, records
from .contents import FIGURES
from .printed import printed_section
from .settings import PageSettings
from .style import label
from .tables import DEMO, Table, make_tables, rounded
from .words import STEP, caveats, clock, lead, memory, warnings
from .writers import signed

SECTIONS = {
    "answer": "Masking, or only sparsity?",
    "claims": "Claims",
    "ood": "Out of distribution",
    "sparsity": "Sparsity on clean text",
    "printed": "From the paper's printed numbers",
    "tables": "Tables",
    "imported": "Imported SAEs",
    "curves": "Training",
    "caveats": "Caveats",
    "run": "What was run",
    "sources": "Sources",
}
ALONE = ("imported", "caveats", "run", "sources")  # sections of a run of imported SAEs alone
NARROW = ("tradeoff",)


Inputs = dict[str, str | list[str]]  # what the page is made from, by name


def write_page(inputs: Inputs, settings: PageSettings, to: str | Path) -> None:
    for path in (path for paths in inputs.values() for path in ([paths] if isinstance(paths, str) else paths)):
        if not Path(path).exists():
            raise InputError(f"{path}: missing: ask Snakemake for it, and its job says why it cannot be made")
    if not inputs["quality"] and not inputs["imported"]:
        raise InputError(
            "configuration: tables, analysis.arms and saes: all are empty, so the report has no SAE to show: add a "
            "table, an arm or an SAE"
        )
    environment = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(Path(_one(inputs, "template")).read_text())
    css = Markup(Path(_one(inputs, "css")).read_text())
    write_bytes(to, template.render(css=css, **context(inputs, settings)).encode())
    log.info("%s: the report", to)


def _one(inputs: Inputs, name: str) -> str:
    path = inputs[name]
    assert isinstance(path, str)
    return path


def context(inputs: Inputs, settings: PageSettings) -> dict[str, Any]:
    """Everything on the page."""
    shown, palette = settings.shown, html.Palette(settings.shown.streams)
    l0s = scored_l0({score for model in shown.models for score in model.scores})
    scores = Scores(read_rows(_one(inputs, "scores")))
    saes = records.read_saes(list(inputs["quality"]))
    audited = audits.read_audits(list(inputs["audits"]))
    verdicts, contrasts = read_json(_one(inputs, "verdicts")), read_contrasts(_one(inputs, "contrasts"))
    found = [claim["verdict"] for claim in verdicts["claims"]]
    untested = _untested(verdicts["claims"])
    published = read_published(Path(inputs["published"][0]).parent)
    tables = make_tables(shown, scores, published)
    steps = [
        records.read_step(step.words, step.gpus, list(step.files), list(step.provenance)) for step in settings.steps
    ]
    return {
        "run": shown.run,
        "demo": DEMO if shown.demo else "",
        "seeds": len(shown.seeds),
        "several_trainers": len(shown.trainers) > 1,
        "sections": _sections(saes, shown),
        "palette": Markup(palette.css()),
        "answer": answer.answer(verdicts, shown),
        "lead": lead(saes, shown),
        "contrast_columns": [answer.COLUMNS[name] for name in answer.columns(contrasts)],
        "contrasts": answer.table(verdicts, contrasts, shown),
        "declared": answer.declared(verdicts, contrasts, shown),
        "analysis": shown.analysis,
        "families": answer.families(contrasts),
        "verdicts": [_claim(claim, untested) for claim in verdicts["claims"]],
        "untested": untested.items(),
        "counts": [(kind, color, found.count(kind)) for kind, color in answer.CHIPS.items() if kind in found],
        "departures": published.departures_of_run(shown),
        "figures": _figures(inputs, settings, palette),
        "differences": _differences(read_list(_one(inputs, "differences")), shown, palette),
        "saes": _saes(saes, settings, palette, scores, l0s),
        "audits": {"/".join(cell.folder.parts[2:]): audits.line(found) for cell, found in audited.items()},
        "audited": audits.count(audited),
        "points": list(POINTS.values()),
        "printed": printed_section(published),
        "scored_texts": list(l0s),
        "tolerance": f"{TOLERANCE:.0%}",
        "measured_tokens": f"{saes[0].quality['tokens']:,}" if saes else "",
        "imported": imported.origins(shown, list(inputs["imported"])),
        "listings": _listings(shown, scores, list(inputs["theirs"])),
        **_tables([table for by_trainer in tables.values() for table in by_trainer]),
        "warnings": warnings(saes),
        "caveats": caveats(shown),
        "facts": _about(saes, settings),
        "steps": [_step(step) for step in steps],
        "total": _step(records.total(steps)) | {"gpu": _hours(sum(step.gpu_hours for step in steps))},
        "unrecorded": any(step.unrecorded for step in steps),
        "sources": _sources(inputs),
        "versions": {
            words: _versions(records_of_it)
            for words, records_of_it in {
                "Versions: training": [sae.provenance for sae in saes],
                "Versions: imported SAEs": [read_json(path) for path in inputs["imported"]],
                "Versions: SAEBench": [read_json(path) for path in inputs["scoring"]],
            }.items()
            if records_of_it
        },
        "configuration": yaml.safe_dump(settings.configuration, sort_keys=False, allow_unicode=True, width=100),
    }


def _sections(saes: list[records.Sae], shown: Shown) -> list[tuple[str, str]]:
    sections = [name for name in SECTIONS if name != "imported" or shown.imported] if saes else ALONE
    return [(name, SECTIONS[name]) for name in sections]


def _listings(shown: Shown, scores: Scores, theirs: list[str]) -> list[dict[str, Any]]:
    """The tables of imported SAEs."""
    return [
        {
            "name": each.name,
            "title": each.title,
            "html": Markup(listing.to_html(each)),
            "notes": " ".join(each.notes),
            "warnings": each.warnings,
        }
        for each in imported.listings(shown, scores, theirs)
    ]


def _figures(inputs: Inputs, settings: PageSettings, palette: html.Palette) -> dict[str, list[dict[str, Any]]]:
    """{figure: its drawings, one for each trainer}; an empty list if this configuration does not have the figure."""
    captions = {Path(path).stem: path for path in inputs["captions"]}
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in FIGURES}
    for drawn in settings.figures:
        path = next(path for path in inputs["figures"] if Path(path).stem == drawn.file)
        figures[drawn.figure].append(
            {
                "file": drawn.file,
                "title": FIGURES[drawn.figure],
                "trainer": drawn.trainer if len(settings.shown.trainers) > 1 else "",
                "narrow": drawn.figure in NARROW,
                "svg": Markup(palette.inline_svg(path, drawn.file, FIGURES[drawn.figure])),
                "caption": Markup(html.caption(captions[drawn.figure])),
            }
        )
    return figures


def _untested(claims: list[dict[str, Any]]) -> dict[str, int]:
    """Why claims are not tested by this run, where several have one reason: how many. What no run can settle has a
    reason of its own."""
    why = Counter(claim["why"] for claim in claims if claim["verdict"] == NOT_TESTED and claim["model"])
    return {words: count for words, count in why.items() if count > 1}


def _claim(claim: dict[str, Any], untested: dict[str, int]) -> dict[str, Any]:
    """With one difference, its numbers; with several, their range. No reason that stands above the table."""
    ours = [difference["ours"] for difference in claim["differences"] if difference["ours"] is not None]
    printed = [difference["published"] for difference in claim["differences"] if difference["published"] is not None]
    stated = signed(claim["stated"]) if claim["stated"] else _range(printed)
    by = [(answer.COLUMNS[name], verdict, answer.CHIPS[verdict]) for name, verdict in claim["by"].items()]
    why = "" if claim["why"] in untested else claim["why"]
    chip = answer.CHIPS[claim["verdict"]]
    return claim | {"ours": _range(ours), "paper": stated, "chip": chip, "why": why, "by": by}


def _range(values: list[float]) -> str:
    ends = sorted({signed(rounded(value, 2)): value for value in values}.items(), key=lambda item: item[1])
    return " to ".join(dict.fromkeys((ends[0][0], ends[-1][0]))) if ends else "—"


def _differences(entries: list[dict[str, Any]], shown: Shown, palette: html.Palette) -> list[dict[str, Any]]:
    rows = []
    for model, model_entries in groupby(entries, key=lambda entry: entry["model"]):
        for number, entry in enumerate(model_entries):
            tests = [
                {
                    "mean": signed(rounded(entry[test]["mean"], 3)),
                    "interval": " to ".join(signed(rounded(bound, 3)) for bound in entry[test]["interval"]),
                }
                for test in ("ood", "in_distribution")
            ]
            stream = {"stream": label(shown.stream(entry["stream"]), shown.streams)}
            row = {"model": "" if number else model, "first": not number, "mark": palette.variables[entry["stream"]]}
            rows.append(row | stream | {"tests": tests, "l0": entry["l0"], "seed": entry["seed"]})
    return rows


def _saes(
    saes: list[records.Sae], settings: PageSettings, palette: html.Palette, scores: Scores, l0s: dict[str, str]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    before = None
    files = {model.name: model.scores for model in settings.shown.models}
    for sae in saes:
        has = scored_l0(files[sae.cell.model])
        first = before is None or before.cell.model != sae.cell.model
        rows.append(
            {
                "model": sae.cell.model if first else "",
                "first": first,
                "stream": label(settings.shown.stream(sae.cell.stream), settings.shown.streams),
                "mark": palette.variables[sae.cell.stream],
                "trainer": sae.cell.trainer,
                "seed": sae.cell.seed,
                "nominal": sae.quality["nominal_l0"],
                "l0": f"{sae.quality['l0']:.1f}",
                "scored_l0": [f"{scores.value(sae.cell, l0s[text]):.1f}" if text in has else "—" for text in l0s],
                "off": signed(rounded(100 * sae.off, 1)) + "%" if sae.aims_at_l0 else "—",
                "off_by_much": sae.off_by_much,
                "explained_variance": f"{sae.quality['explained_variance']:.3f}",
                "dead": sae.quality["dead_latents"],
                "latents": sae.quality["latents"],
                "dead_percent": f"{100 * sae.dead:.1f}",
                "mostly_dead": sae.mostly_dead,
                "folder": "/".join(sae.cell.folder.parts[2:]),
                "scores": [f"{name}.json" for name in files[sae.cell.model] if name != "quality"],
            }
        )
        before = sae
    return rows


def _tables(tables: list[Table]) -> dict[str, Any]:
    """Each with its own notes; notes that all tables have are given once, below them."""
    notes = [[note for note in table.notes if note != DEMO] for table in tables]
    common = [note for note in notes[0] if all(note in table_notes for table_notes in notes)] if notes else []
    shown = [
        {
            "name": table.name,
            "title": table.title,
            "html": Markup(html.table_html(table)),
            "notes": " ".join(note for note in table_notes if note not in common),
        }
        for table, table_notes in zip(tables, notes, strict=True)
    ]
    return {"tables": shown, "notes": " ".join(common)}


def _about(saes: list[records.Sae], settings: PageSettings) -> list[tuple[str, str]]:
    if not saes:
        return [("SAEs", f"{len(settings.shown.imported)}, none of them trained by this run")]
    first = saes[0].provenance
    devices = sorted({sae.provenance["device"] for sae in saes})
    revisions = sorted({sae.provenance["revision"] for sae in saes})
    latents = " or ".join(f"{number:,}" for number in sorted({sae.quality["latents"] for sae in saes}))
    batch, names = settings.configuration["training"]["batch"], [trainer.name for trainer in settings.shown.trainers]
    return [
        ("SAEs", f"{len(saes)}, each of {latents} latents, {', '.join(names)}"),
        ("Training", f"{first['tokens']:,} tokens each, in {first['steps']:,} steps of {batch:,}"),
        ("Each step", "; ".join(sorted({STEP[sae.step] for sae in saes}))),
        ("Seeds", ", ".join(map(str, settings.shown.seeds))),
        ("Hardware of the SAEs", ", ".join(devices)),
        ("Revision of the code", ", ".join(revisions)),
    ]


def _sources(inputs: Inputs) -> list[tuple[str, str]]:
    sources = []
    for path in inputs["models"]:
        model = read_json(path)
        source = f"{model['hub']} at {model['commit']}" if model["hub"] else model["path"]
        sources.append((model["name"], f"{source}; SAEs read layer {model['layer']} of {model['layers']}"))
    for path in inputs["tokens"]:
        tokens = read_json(path)
        given = tokens["corpus"]
        corpus = given.get("dataset") or ", ".join(given["files"])
        corpus += f" at {given['revision']}" if "revision" in given else ""
        train = f"{tokens['train']['tokens']:,} tokens of {tokens['train']['documents']:,} documents of {corpus}"
        sources.append((f"{Path(path).parts[-3]}: text", f"{train}; {tokens['heldout']['tokens']:,} held out"))
    return sources


def _versions(provenance: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Versions of the code, the machines and every package; several where they differ."""
    found: dict[str, set[str]] = {}
    for origin in provenance:
        for name, value in {"revision": origin["revision"], "device": origin["device"], **origin["versions"]}.items():
            found.setdefault(name, set()).add(str(value))
    return [(name, ", ".join(sorted(values))) for name, values in found.items() if values != {"None"}]


def _step(step: records.Step) -> dict[str, Any]:
    return {
        "words": step.words,
        "jobs": step.jobs,
        "unrecorded": step.unrecorded,
        "wall": clock(step.wall) if step.wall else "—",
        "cpu": "—" if step.cpu is None else clock(step.cpu),
        "gpu": _hours(step.gpu_hours) if step.wall else "—",
        "memory": "—" if step.memory is None else memory(step.memory),
    }


def _hours(hours: float) -> str:
    return f"{hours:.2f}" if hours else "0"
