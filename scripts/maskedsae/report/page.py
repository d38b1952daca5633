"""report.html: one file that needs nothing beside it, from scores.csv, figures and the records of the run."""

from itertools import groupby
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ..errors import InputError
from ..files import read_json, write_bytes
from . import facts, html
from .equal_l0 import TOLERANCE
from .plan import FIGURES
from .plan import figures as plan_figures
from .published import read_published
from .scores import Scores, read_rows
from .tables import DEMO, Table, make_tables, rounded
from .verdicts import NOT_TESTED, OPPOSITE, SAME, WITHIN
from .words import caveats, clock, lead, memory, warnings
from .writers import signed

SECTIONS = {
    "claims": "Claims",
    "ood": "Out of distribution",
    "sparsity": "Masking, or only sparsity?",
    "tables": "Tables",
    "curves": "Training",
    "caveats": "Caveats",
    "run": "What was run",
    "sources": "Sources",
}
NARROW = ("tradeoff",)


def write_page(inputs: dict, settings: dict, to: str | Path) -> None:
    """`inputs` as plan.page_inputs has them, `settings` as grid.page_settings."""
    for path in (path for of in inputs.values() for path in ([of] if isinstance(of, str) else of)):
        if not Path(path).exists():
            raise InputError(f"{path}: missing: ask Snakemake for it, and its job says why it cannot be made")
    if not inputs["quality"]:
        raise InputError("configuration: tables: there is none, and the report shows what the tables show: add one")
    environment = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(Path(inputs["template"]).read_text())
    css = Markup(Path(inputs["css"]).read_text())
    write_bytes(to, template.render(css=css, **context(inputs, settings)).encode())


def context(inputs: dict, settings: dict) -> dict:
    """All that stands on the page."""
    scores = Scores(read_rows(inputs["scores"]))
    saes = facts.read_saes(inputs["quality"])
    verdicts = read_json(inputs["verdicts"])
    found = [claim["verdict"] for claim in verdicts]
    published = read_published(Path(inputs["published"][0]).parent)
    tables = make_tables(settings, scores, published)
    steps = [facts.read_step(**step) for step in settings["steps"]]
    shares = sorted({stream["p"] for stream in settings["streams"]})
    return {
        "run": settings["configuration"]["run"],
        "demo": DEMO if settings["demo"] else "",
        "seeds": len(settings["seeds"]),
        "several_trainers": len(settings["trainers"]) > 1,
        "sections": SECTIONS.items(),
        "palette": Markup(html.palette(shares)),
        "lead": lead(saes, settings),
        "verdicts": [_claim(claim) for claim in verdicts],
        "counts": [(kind, found.count(kind)) for kind in (SAME, OPPOSITE, WITHIN, NOT_TESTED) if kind in found],
        "figures": _figures(inputs, settings, shares),
        "differences": _differences(read_json(inputs["differences"]), settings),
        "saes": _saes(saes, settings),
        "tolerance": f"{TOLERANCE:.0%}",
        "measured_tokens": f"{saes[0].quality['tokens']:,}",
        **_tables([table for of_name in tables.values() for table in of_name]),
        "warnings": warnings(saes),
        "caveats": caveats(settings, published.known_spread()),
        "facts": _facts(saes, settings),
        "steps": [_step(step) for step in steps],
        "total": _step(facts.total(steps)) | {"gpu": _hours(sum(step.gpu_hours for step in steps))},
        "unrecorded": any(step.unrecorded for step in steps),
        "sources": _sources(inputs),
        "versions": {
            "Versions: training": _versions([sae.provenance for sae in saes]),
            "Versions: SAEBench": _versions([read_json(path) for path in inputs["scoring"]]),
        },
        "configuration": yaml.safe_dump(settings["configuration"], sort_keys=False, allow_unicode=True, width=100),
    }


def _figures(inputs: dict, settings: dict, shares: list[float]) -> dict[str, list[dict]]:
    """{figure: one for each trainer}; a figure that this configuration does not have has none."""
    captions = {Path(path).stem: path for path in inputs["captions"]}
    figures: dict[str, list[dict]] = {name: [] for name in FIGURES}
    for file, (name, trainer) in plan_figures(settings["configuration"]).items():
        path = next(path for path in inputs["figures"] if Path(path).stem == file)
        figures[name].append(
            {
                "file": file,
                "title": FIGURES[name],
                "trainer": trainer if len(settings["trainers"]) > 1 else "",
                "narrow": name in NARROW,
                "svg": Markup(html.inline_svg(path, file, FIGURES[name], shares)),
                "caption": Markup(html.caption(captions[name])),
            }
        )
    return figures


def _claim(claim: dict) -> dict:
    """With one difference, its numbers; with several, how far they reach."""
    ours = [difference["ours"] for difference in claim["differences"]]
    printed = [difference["published"] for difference in claim["differences"] if difference["published"] is not None]
    stated = signed(claim["stated"]) if claim["stated"] else _range(printed)
    return claim | {"ours": _range(ours), "paper": stated}


def _range(values: list[float]) -> str:
    ends = sorted({signed(rounded(value, 2)): value for value in values}.items(), key=lambda item: item[1])
    return " to ".join(dict.fromkeys((ends[0][0], ends[-1][0]))) if ends else "—"


def _differences(entries: list[dict], settings: dict) -> list[dict]:
    p_of = {stream["name"]: stream["p"] for stream in settings["streams"]}
    rows = []
    for model, of_model in groupby(entries, key=lambda entry: entry["model"]):
        for number, entry in enumerate(of_model):
            p = p_of[entry["stream"]]
            tests = [
                {
                    "mean": signed(rounded(entry[test]["mean"], 3)),
                    "interval": " to ".join(signed(rounded(bound, 3)) for bound in entry[test]["interval"]),
                }
                for test in ("ood", "in_distribution")
            ]
            row = {"model": "" if number else model, "first": not number, "p": f"{p:g}", "mark": html.mark(p)}
            rows.append(row | {"tests": tests, "l0": entry["l0"], "seed": entry["seed"]})
    return rows


def _saes(saes: list[facts.Sae], settings: dict) -> list[dict]:
    p_of = {stream["name"]: stream["p"] for stream in settings["streams"]}
    rows, before = [], None
    for sae in saes:
        p, first = p_of[sae.cell.stream], before is None or before.cell.model != sae.cell.model
        rows.append(
            {
                "model": sae.cell.model if first else "",
                "first": first,
                "trained_on": f"p = {p:g}" if p else "unmasked text",
                "mark": html.mark(p),
                "trainer": sae.cell.trainer,
                "seed": sae.cell.seed,
                "nominal": sae.quality["nominal_l0"],
                "l0": f"{sae.quality['l0']:.1f}",
                "off": signed(rounded(100 * sae.off, 1)) + "%",
                "off_by_much": sae.off_by_much,
                "explained_variance": f"{sae.quality['explained_variance']:.3f}",
                "dead": sae.quality["dead_latents"],
                "latents": sae.quality["latents"],
                "dead_percent": f"{100 * sae.dead:.1f}",
                "mostly_dead": sae.mostly_dead,
                "folder": "/".join(sae.folder.parts[-5:]),
                "scores": settings["scores"],
            }
        )
        before = sae
    return rows


def _tables(tables: list[Table]) -> dict:
    """Each with the notes that are its own; those that hold of all stand once below them."""
    notes = [[note for note in table.notes if note != DEMO] for table in tables]
    common = [note for note in notes[0] if all(note in of_table for of_table in notes)] if notes else []
    shown = [
        {
            "name": table.name,
            "title": table.title,
            "html": Markup(html.table_html(table)),
            "notes": " ".join(note for note in of_table if note not in common),
        }
        for table, of_table in zip(tables, notes, strict=True)
    ]
    return {"tables": shown, "notes": " ".join(common)}


def _facts(saes: list[facts.Sae], settings: dict) -> list[tuple[str, str]]:
    first = saes[0].provenance
    devices = sorted({sae.provenance["device"] for sae in saes})
    revisions = sorted({sae.provenance["revision"] for sae in saes})
    training = settings["configuration"]["training"]
    return [
        ("SAEs", f"{len(saes)}, each of {saes[0].quality['latents']:,} latents, {', '.join(settings['trainers'])}"),
        ("Training", f"{first['tokens']:,} tokens each, in {first['steps']:,} steps of {training['batch']:,}"),
        ("Seeds", ", ".join(map(str, settings["seeds"]))),
        ("Hardware of the SAEs", ", ".join(devices)),
        ("Revision of the code", ", ".join(revisions)),
    ]


def _sources(inputs: dict) -> list[tuple[str, str]]:
    sources = []
    for path in inputs["models"]:
        model = read_json(path)
        where = f"{model['hub']} at {model['commit']}" if model["hub"] else model["path"]
        sources.append((model["name"], f"{where}; SAEs read layer {model['layer']} of {model['layers']}"))
    for path in inputs["tokens"]:
        tokens = read_json(path)
        corpus = tokens["corpus"].get("dataset") or ", ".join(tokens["corpus"]["files"])
        train = f"{tokens['train']['tokens']:,} tokens of {tokens['train']['documents']:,} documents of {corpus}"
        sources.append((f"{Path(path).parts[-3]}: text", f"{train}; {tokens['heldout']['tokens']:,} held out"))
    return sources


def _versions(provenance: list[dict]) -> list[tuple[str, str]]:
    """Of the code, the machines and every package that had a hand in it; several where they differ."""
    found: dict[str, set[str]] = {}
    for of in provenance:
        for name, value in {"revision": of["revision"], "device": of["device"], **of["versions"]}.items():
            found.setdefault(name, set()).add(str(value))
    return [(name, ", ".join(sorted(values))) for name, values in found.items() if values != {"None"}]


def _step(step: facts.Step) -> dict:
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
