"""Every number in the SAEs' JSON files as one tidy table, scores.csv: one row per number, with its file. The same rows
with typed columns are in scores.parquet.

A metric's name is the file's stem and the number's key in it (core.explained_variance); for one data set or letter, its
name comes between (tpp.<dataset>.tpp_threshold_20_total_metric). docs/scores.md lists them.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from ..activations.settings import Stream
from ..jobs.errors import InputError
from ..jobs.files import read_json, write_bytes
from ..jobs.log import log
from ..saes.cells import Cell, Imported, sae_of
from .saebench.names import EVALS
from .settings import ScoresTableSettings


@dataclass(frozen=True)
class Row:
    """One number. The oracle's rows have the stream "oracle" and no p, trainer, l0 or seed; those of an imported SAE
    the stream "imported", its name as the trainer, and no p, l0 or seed."""

    run: str
    model: str
    stream: str
    p: float | None
    trainer: str | None
    l0: int | None
    seed: int | None
    metric: str
    value: float
    source: str

    @property
    def cell(self) -> Cell | None:
        if self.trainer is None or self.l0 is None or self.seed is None:
            return None
        return Cell(self.run, self.model, self.stream, self.trainer, self.l0, self.seed)

    @property
    def imported(self) -> Imported | None:
        if self.stream != IMPORTED or self.trainer is None:
            return None
        return Imported(self.run, self.model, self.trainer)


IMPORTED = "imported"  # in place of a stream; no stream may have that name (experiment/checks.py)
COLUMNS = tuple(field.name for field in fields(Row))
NESTED = ("robustness", "parents")  # score files that are mappings of mappings
# The columns before the metric.
Origin = tuple[str, str, str, float | None, str | None, int | None, int | None]

# The values that a score can have; one outside means a broken file. Unbounded are SCR, a ratio of two differences, and
# SAEBench's explained variance other than `legacy`: it subtracts the square of the mean square, which can be more than
# what it is subtracted from, and on the demo's models it comes out at 1.07.
SHARE, DIFFERENCE = (0, 1), (-1, 1)
BOUNDS = {
    r"absorption\..*(absorption_(fraction_)?(score|rate)|absorption_fraction)": SHARE,
    r"core\.explained_variance_legacy|variance\.(saebench_legacy|centred)|quality\.explained_variance(_\w+)?": (
        float("-inf"),
        1,
    ),
    r"sparse_probing\..*accuracy": SHARE,
    r"tpp\..*_total_metric": DIFFERENCE,
    r"(ood|oracle)\..*auc(_top_\d+|_low|_high)?": SHARE,
    r"letters\..*f1": SHARE,
    r"(quality|core|ood)\.(\w+_)?l0|l0\.\w+|robustness\..*\.l0(_untouched|_touched)?": (0, float("inf")),
    r"robustness\..*(jaccard|_auc)": SHARE,
    r"robustness\..*(cosine|_auc_change)|parents\..*cosine": DIFFERENCE,
    r"robustness\..*explained_variance": (float("-inf"), 1),
    r"parents\..*\.(missed|precision|recall|f1|missed_and_absorbed|absorbed_of_missed|full_absorption)": SHARE,
    r"parents\..*\.absorption_fraction": SHARE,
    r"planted\.(at_.*\.)?(missed(_alone)?|\w+_recovered)": SHARE,
    r"planted\.(at_.*\.)?(\w+_cosine|absorbed)": DIFFERENCE,
    r"planted\.(at_.*\.)?explained_variance": (float("-inf"), 1),
    r"planted\.(at_.*\.)?l0(_on_filler)?": (0, float("inf")),
}


def collect(paths: list[str], streams: Sequence[Stream]) -> list[Row]:
    """The rows of these files, in their order: scores/*.json and sae/quality.json of SAEs, and models' oracle.json.

    A missing or broken file, and a number out of bounds, is an InputError that names the file.
    """
    by_name = {stream.name: stream for stream in streams}
    return [row for path in paths for row in _rows(path, by_name)]


def _rows(path: str, streams: dict[str, Stream]) -> Iterator[Row]:
    stem = Path(path).stem
    origin = _oracle_origin(path) if stem == "oracle" else _sae_origin(path, streams)
    names = set()
    for name, value in _numbers(path, stem):
        metric = f"{stem}.{name}"
        if metric in names:
            raise InputError(f"{path}: two numbers are called {metric}: remove the file so that it is made again")
        names.add(metric)
        _check(path, metric, value)
        yield Row(*origin, metric, value, path)
    if not names:
        raise InputError(f"{path}: no number in it: remove the file so that it is made again")


def _sae_origin(path: str, streams: dict[str, Stream]) -> Origin:
    sae = sae_of(path)
    if isinstance(sae, Imported):
        return sae.run, sae.model, IMPORTED, None, sae.sae, None, None
    return sae.run, sae.model, sae.stream, streams[sae.stream].p, sae.trainer, sae.l0, sae.seed


def _oracle_origin(path: str) -> Origin:
    run, model = Path(path).parts[-3:-1]
    return run, model, "oracle", None, None, None, None


def _numbers(path: str, stem: str) -> list[tuple[str, float]]:
    try:
        content = read_json(path)
        if stem in EVALS:
            return list(saebench_numbers(content, stem))
        if stem in ("ood", "oracle"):
            return [*_probe_numbers(content), *(_latent_numbers(content) if stem == "ood" else ())]
        if stem in NESTED:
            return list(_nested_numbers(content["scores"] if stem == "parents" else content))
        return list(_numbers_in(content))
    except FileNotFoundError:
        raise InputError(f"{path}: missing: ask Snakemake for it, and its job says why it cannot be made") from None
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: does not have the form of {stem} scores ({error!r}): remove the file so that it is made again"
        ) from error


def saebench_numbers(content: dict[str, Any], stem: str) -> Iterator[tuple[str, float]]:
    """Its metrics, and those of each data set or letter. (Core's details are about single latents and are no scores.)

    SAEBench writes null for an N or k that was not asked for, and for a pair of classes that SCR left out because the
    language model's probe ties there (saebench.scr_and_tpp.ties allows or forbids that). A null in any other mean is an
    error.
    """
    config = content["eval_config"]
    asked = {*config.get("n_values", []), *config.get("k_values", [])}
    for category in content["eval_result_metrics"].values():
        for name, value in category.items():
            latents = re.search(r"_(?:threshold|top)_(\d+)", name)
            if value is None and latents and int(latents[1]) in asked:
                raise TypeError(f"{name} is null")
        yield from _numbers_in(category)
    for detail in content["eval_result_details"] if stem != "core" else ():
        part = detail["first_letter" if stem == "absorption" else "dataset_name"]
        for name, value in _numbers_in(detail):
            yield f"{part}.{name}", value


def _numbers_in(content: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The entries of a mapping that are neither text nor null."""
    for name, value in content.items():
        if value is not None and not isinstance(value, str):
            yield name, value


def _nested_numbers(content: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a mapping of mappings, under the keys that lead to them, joined by dots."""
    for name, value in _numbers_in(content):
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", number) for inner, number in _nested_numbers(value))
        else:
            yield name, value


def _probe_numbers(content: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """ood.json and oracle.json: AUCs out of distribution (auc) and in distribution, their means and each data set's."""
    for test, auc in (("ood", "auc"), ("in_distribution", "in_distribution_auc")):
        mean = content["mean"][test]
        yield auc, mean["mean"]
        yield f"{auc}_standard_error", mean["standard_error"]
        yield from _interval(auc, mean["interval"])
        for k, means in content["mean_by_k"].items():
            yield f"{auc}_top_{k}", means[test]
        for dataset, probe in content["datasets"].items():
            yield f"{dataset}.{auc}", probe[test]["auc"]
            yield from _interval(f"{dataset}.{auc}", probe[test]["interval"])
            yield f"{dataset}.{auc}_rows", probe[test]["rows"]
            for k, aucs in probe["by_k"].items():
                yield f"{dataset}.{auc}_top_{k}", aucs[test]
    for dataset, probe in content["datasets"].items():
        for name in ("C", "validation_auc", "weights"):
            yield f"{dataset}.{name}", probe[name]


def _latent_numbers(content: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """What ood.json has and oracle.json has not."""
    for name in ("l0", "latents_for_95"):
        for test, value in content[name].items():
            if value is not None:  # no k was enough
                yield name if test == "ood" else f"{test}_{name}", value


def _interval(name: str, interval: list[float]) -> Iterator[tuple[str, float]]:
    low, high = interval
    yield f"{name}_low", low
    yield f"{name}_high", high


def _check(path: str, metric: str, value: object) -> None:
    """Refuse what cannot be a score. SAEBench's core writes -1 for what it could not compute."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise InputError(f"{path}: {metric} is {value}, not a finite number: remove the file so that it is made again")
    lost = metric.startswith("core.explained_variance") and value == -1
    low, high = next((bounds for form, bounds in BOUNDS.items() if re.fullmatch(form, metric)), (value, value))
    if lost or not low <= value <= high:
        between = "which is how SAEBench writes NaN" if lost else f"and can only lie between {low} and {high}"
        raise InputError(f"{path}: {metric} is {value}, {between}: remove the file so that it is made again")


def write_table(path: str | Path, files: list[str], settings: ScoresTableSettings) -> None:
    """Beside `path`, which is a .csv, the same as .parquet."""
    rows = collect(files, settings.streams)
    write_rows(path, rows)
    write_parquet(Path(path).with_suffix(".parquet"), rows)
    log.info("%s: %s numbers from %d files", path, f"{len(rows):,}", len(files))


def write_rows(path: str | Path, rows: list[Row]) -> None:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows(astuple(row) for row in rows)
    write_bytes(path, text.getvalue().encode())


def write_parquet(path: str | Path, rows: list[Row]) -> None:
    kinds = {name: (get_args(hint) or (hint,))[0] for name, hint in get_type_hints(Row).items()}  # of `int | None`: int
    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, types[kinds[name]]) for name in COLUMNS])
    columns = [[getattr(row, name) for row in rows] for name in COLUMNS]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema), sink, compression="zstd")
    write_bytes(path, sink.getvalue())


def read_rows(path: str | Path) -> list[Row]:
    """What write_rows wrote, number for number."""
    with open(path, newline="") as file:
        return [_read(line) for line in csv.DictReader(file)]


def _read(line: dict[str, str]) -> Row:
    made: dict[str, Any] = {"p": float, "l0": int, "seed": int, "value": float}
    read: dict[str, Any] = {
        name: made[name](text) if text and name in made else text or None for name, text in line.items()
    }
    return Row(**read)


class Scores:
    """Rows, looked up by metric and by cell, imported SAE or, for the oracle, by model."""

    def __init__(self, rows: list[Row]):
        self._rows = {(row.cell or row.imported or row.model, row.metric): row for row in rows}
        if len(self._rows) < len(rows):
            raise InputError("scores.csv: the same number of the same SAE is in it twice: remove it to make it again")

    def row(self, sae: Cell | Imported, metric: str) -> Row:
        """One number of one SAE; an InputError names the score file that lacks it."""
        try:
            return self._rows[sae, metric]
        except KeyError:
            stem, name = metric.split(".", 1)
            file = sae.folder / ("sae" if stem == "quality" else "scores") / f"{stem}.json"
            raise InputError(f"scores.csv: no {metric} of {file}: check there whether {name} was asked for") from None

    @property
    def saes(self) -> set[Cell | Imported]:
        return {sae for sae, _ in self._rows if not isinstance(sae, str)}

    def has(self, sae: Cell | Imported, metric: str) -> bool:
        return (sae, metric) in self._rows

    def value(self, sae: Cell | Imported, metric: str) -> float:
        return self.row(sae, metric).value

    def oracle_row(self, model: str, metric: str = "oracle.auc") -> Row:
        try:
            return self._rows[model, metric]
        except KeyError:
            raise InputError(f"scores.csv: no {metric} of {model}'s oracle.json: make it again") from None

    def oracle(self, model: str, metric: str = "oracle.auc") -> float:
        return self.oracle_row(model, metric).value
