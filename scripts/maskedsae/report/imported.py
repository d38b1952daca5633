"""Imported SAEs: their scores, and ours less those that others published of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..inference.settings import Shown, ShownSae
from ..jobs.files import read_json
from ..saes.cells import Imported, sae_of
from ..scores.metrics import ACHIEVED_L0, OOD, Metric
from ..scores.saebench.names import EVALS
from ..scores.saebench.published import (
    LEGACY,
    VARIANCE,
    Result,
    no_difference,
    numbers,
    read_lacking,
    read_published,
    unlike,
)
from ..scores.table import IMPORTED, Row, Scores
from .listing import Listed, Listing
from .tables import BESIDE, rounded, which_numbers
from .writers import COLUMNS, signed

ON_CLEAN_TEXT = (
    Metric("l0", "l0 on clean text", ACHIEVED_L0, percent=False),
    Metric("clean_variance", "Explained Variance on clean text", "quality.explained_variance"),
)
# What SAEBench gives beside the scores of the tables.
CORE = (
    Metric("core_l0", "l0 in core", "core.l0", percent=False),
    Metric("legacy", "Explained Variance (legacy)", LEGACY),
    Metric("loss_recovered", "Loss Recovered", "core.ce_loss_score"),
)

PERCENT = "Percent, absorption as 100 x (1 - score); higher is better, but for l0 and split features."
ONE = "n = 1 SAE for each row."
# docs/imported.md has the sources.
REDEFINED = (
    "The absorption fraction stands without a difference: SAEBench 0.4.1 redefined it, and result files do not say "
    "which version made them. Those of January 2025 have the older one, which can be ten times as large."
)
NOT_NOMINAL = "These SAEs have no nominal l0: compare them with others at their l0 on clean text."


def imported_listing(shown: Shown, scores: Scores) -> Listing:
    """A row for each SAE that this run did not train."""
    wanted = [*ON_CLEAN_TEXT, *shown.report.all_metrics, OOD]
    found, absent = _asked(shown, wanted)
    rows, lines = [], []
    for sae in shown.imported:
        printed = []
        for metric in found:
            row = scores.row(shown.sae(sae), metric.key)
            printed.append(rounded(metric.scaled(row.value), _decimals(metric)))
            lines.append(_line(shown, sae, metric, row, printed[-1]))
        rows.append(Listed(sae.model, sae.name, tuple(printed)))
    notes = [ONE, PERCENT, which_numbers(shown.report), NOT_NOMINAL, *absent]
    if any(metric.name == "absorption" for metric in found):
        notes.append(BESIDE)
    title = "SAEs that this run did not train"
    heads = tuple(metric.label for metric in found)
    return Listing("imported", title, heads, tuple(rows), tuple(notes), shown.demo, COLUMNS[:-1], tuple(lines))


def _asked(shown: Shown, metrics: Sequence[Metric]) -> tuple[list[Metric], list[str]]:
    """Those that these SAEs' models have scores of; and a note on the others."""
    models = {model.name: model.scores for model in shown.models}
    files = {score for sae in shown.imported for score in models[sae.model]}
    lacking = [metric.label for metric in metrics if metric.file not in files]
    note = [f"Not asked for (saebench.evals): {', '.join(lacking)}."] if lacking else []
    return [metric for metric in metrics if metric.file in files], note


def _decimals(metric: Metric) -> int:
    return 1 if metric.key in (ACHIEVED_L0, "core.l0") else 3


def _line(shown: Shown, sae: ShownSae, metric: Metric, row: Row, printed: str) -> tuple[object, ...]:
    """Of the CSV, whose columns are those of the paper's tables."""
    about = ("imported", sae.model, sae.name, IMPORTED, metric.label, "", IMPORTED, None, None)
    return (*about, metric.scaled(row.value), None, 1, printed, 0, None, None, row.source)


@dataclass(frozen=True)
class Theirs:
    """What others published for an SAE in one eval."""

    sae: ShownSae
    eval: str
    result: Result
    unlike: Mapping[str, str]  # settings that differ from ours, in words by key


@dataclass(frozen=True)
class Compared:
    """One number of ours and of theirs, as SAEBench has it."""

    theirs: Theirs
    row: Row  # ours
    value: float  # theirs
    apart: str  # why no difference is taken; "" if one is


def read_theirs(shown: Shown, files: Sequence[str]) -> list[Theirs]:
    """`files`: published.json and scores/*.json of SAEs with published scores. Of the evals that both have."""
    there = {(sae_of(file), Path(file).stem): file for file in files}
    found = []
    for sae in shown.imported:
        key = shown.sae(sae)
        for name, result in read_published(there[key, "published"]).items() if sae.published else ():
            if (key, name) in there:
                found.append(Theirs(sae, name, result, unlike(read_json(there[key, name]), result.content)))
    return found


def compared(shown: Shown, scores: Scores, found: Iterable[Theirs]) -> list[Compared]:
    """Each number that both have."""
    both = []
    for theirs in found:
        sae = shown.sae(theirs.sae)
        for metric, value in numbers(theirs.eval, theirs.result).items():
            if scores.has(sae, metric):
                row = scores.row(sae, metric)
                both.append(Compared(theirs, row, value, no_difference(metric, (row.value, value), theirs.unlike)))
    return both


def _looked_for(files: Sequence[str]) -> list[str]:
    """For each eval that was scored here and that the hub does not have: which file that was, of the first such SAE."""
    there = {(sae_of(file), Path(file).stem) for file in files}
    lacking: dict[str, list[str]] = {}
    for file in files:
        for name, sought in read_lacking(file).items() if Path(file).stem == "published" else ():
            if (sae_of(file), name) in there:
                lacking.setdefault(name, []).append(sought)
    more = {
        name: f" (nor the files of {len(found) - 1} more SAEs)" * (len(found) > 1) for name, found in lacking.items()
    }
    return [f"Not on the hub: {found[0]}{more[name]}." for name, found in lacking.items()]


def published_listing(shown: Shown, scores: Scores, files: Sequence[str]) -> Listing:
    """Of each SAE with published scores: ours; below, theirs and the difference."""
    theirs = read_theirs(shown, files)
    both = compared(shown, scores, theirs)
    known = {(one.theirs.sae, one.row.metric): one for one in both}
    tabled = [metric for metric in shown.report.all_metrics if metric.file in EVALS and metric.key != LEGACY]
    wanted = [CORE[0], *tabled, *CORE[1:]]
    metrics = [metric for metric in wanted if any(one.row.metric == metric.key for one in both)]
    rows: list[Listed] = []
    for sae in shown.imported:
        if sae.published:
            pairs = [_pair(metric, known.get((sae, metric.key))) for metric in metrics]
            rows.append(Listed(sae.model, sae.name, tuple(ours for ours, _ in pairs)))
            rows.append(Listed(sae.model, sae.name, tuple(other for _, other in pairs), published=True))
    lacking = [metric.label for metric in wanted if metric not in metrics]
    commits = sorted({str(one.result.content.get("sae_bench_commit_hash")) for one in theirs})
    notes = [ONE, "Below ours: as published, and in brackets ours less that.", PERCENT]
    notes += [f"TPP and SCR with N = {shown.report.n} latents, sparse probing with k = {shown.report.k}."]
    notes += [f"Not asked for here, or not published: {', '.join(lacking)}."] if lacking else []
    notes += _looked_for(files)
    notes += [f"Published by SAEBench at commit {', '.join(commits)}."] if commits else []
    columns = ("table", "model", "trainer", "metric", "ours", "published", "difference", "source", "published_source")
    return Listing(
        name="published",
        title="Ours less what others published",
        heads=tuple(metric.label for metric in metrics),
        rows=tuple(rows),
        notes=tuple(notes),
        demo=shown.demo,
        columns=(*columns, "unlike"),
        lines=tuple(map(_compared_line, both)),
        warnings=_warnings(theirs),
    )


def _pair(metric: Metric, one: Compared | None) -> tuple[str, str]:
    if one is None:
        return "—", "—"
    ours, theirs, decimals = metric.scaled(one.row.value), metric.scaled(one.value), _decimals(metric)
    less = "" if one.apart else f" ({signed(rounded(ours - theirs, decimals), '-')})"
    return rounded(ours, decimals), rounded(theirs, decimals) + less


def _compared_line(one: Compared) -> tuple[object, ...]:
    sae, ours = one.theirs.sae, one.row.value
    less = None if one.apart else ours - one.value
    about = ("published", sae.model, sae.name, one.row.metric, ours, one.value, less)
    said = [one.apart] * bool(one.apart) + list(one.theirs.unlike.values())
    return (*about, one.row.source, one.theirs.result.source, "; ".join(said))


def _warnings(theirs: Sequence[Theirs]) -> tuple[str, ...]:
    """What was redefined; for each eval, the settings in which ours and theirs differ, with the number of SAEs if it is
    not all."""
    found = [REDEFINED] if any(one.eval == "absorption" for one in theirs) else []
    for name in EVALS:
        own = [one.unlike for one in theirs if one.eval == name]
        counts = Counter(words for unlike_ours in own for words in unlike_ours.values())
        said = [words + f" [{n} of {len(own)} SAEs]" * (n < len(own)) for words, n in counts.items()]
        found += [f"Other settings than ours in {name}: {', '.join(said)}."] if said else []
    if any(VARIANCE not in numbers(one.eval, one.result) for one in theirs if one.eval == "core"):
        found.append(
            "Where one explained variance was published, it is compared with ours by the formula that SAEBench now "
            "calls legacy."
        )
    return tuple(found)


def listings(shown: Shown, scores: Scores, files: Sequence[str]) -> list[Listing]:
    """Those that this configuration has."""
    found = [imported_listing(shown, scores)] if shown.imported else []
    return found + ([published_listing(shown, scores, files)] if any(sae.published for sae in shown.imported) else [])


def origins(shown: Shown, provenance_files: Sequence[str]) -> list[dict[str, Any]]:
    """Where each SAE comes from, by its provenance.json, and what can be checked of it."""
    names = {shown.sae(sae): sae for sae in shown.imported}
    rows = []
    for path in provenance_files:
        sae, origin = sae_of(path), read_json(path)["origin"]
        assert isinstance(sae, Imported)
        quality = read_json(Path(path).with_name("quality.json"))
        facts = [f"{key}: {value}" for key, value in _told(origin).items()]
        rows.append(
            {
                "model": names[sae].model,
                "sae": names[sae].name,
                "from": _from(origin),
                "facts": "; ".join(facts) or "—",
                "latents": f"{quality['latents']:,}",
                "dead": f"{quality['dead_latents']:,}",
                "folder": "/".join(sae.folder.parts[2:]),
            }
        )
    return rows


def _from(origin: Mapping[str, Any]) -> str:
    """In words: what the configuration named, and the commit that was found."""
    source = origin.get("source") or {}
    if source:
        return f"{source['repository']} at {source['commit']}, {source['folder']}"
    kind, given = next((key, value) for key, value in origin.items() if key not in ("files", "folded", "threshold"))
    if not isinstance(given, Mapping):
        return str(given)
    return f"{kind}: {', '.join(f'{key} {value}' for key, value in given.items() if value is not None)}"


def _told(origin: Mapping[str, Any]) -> dict[str, str]:
    """Checksums of the files that it was made from, and what was folded into its weights."""
    found = {name: f"sha256 {sum_[:12]}…" for name, sum_ in (origin.get("files") or {}).items()}
    if origin.get("folded"):
        found["folded in"] = ", ".join(map(str, origin["folded"]))
    if threshold := origin.get("threshold"):
        found["threshold"] = ", ".join(f"{key} {value:.4g}" for key, value in threshold.items())
    return found
