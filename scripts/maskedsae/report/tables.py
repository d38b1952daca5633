"""The paper's tables from scores.csv: what stands in each row and column, at full precision.

Beyond the paper's rows: the l0 that each SAE has on clean text, and how the unmasked SAEs would do at that same l0.
Masking raises it, so a better score at equal nominal l0 may be no more than that of a less sparse SAE.
"""

from dataclasses import dataclass, replace
from statistics import mean, stdev

from .equal_l0 import at_l0
from .metrics import ACHIEVED_L0, EXPLAINED_VARIANCE, Metric, paper_metrics
from .published import Published
from .scores import Scores

DEMO = "Demo: small language models that the workflow trained itself; no evidence about the paper."

# Blocks of a table, in this order.
PAPER, FURTHER, SPARSITY, EQUAL_L0 = "paper", "further", "sparsity", "equal_l0"
IN_TABLE_3 = ("absorption", "explained_variance")


@dataclass(frozen=True)
class Cell:
    """One place of a table. `values` has a number for each seed and is empty where there is none to give."""

    stream: str
    p: float
    l0: int  # nominal
    values: tuple[float, ...]
    decimals: int = 3
    best: bool = False
    published: str | None = None  # as printed
    sources: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        return mean(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over seeds; None for one seed, whose spread is not known."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def printed(self) -> str:
        """The mean as it is printed; "" if there is none."""
        return rounded(self.mean, self.decimals) if self.values else ""

    @property
    def printed_sd(self) -> str:
        return "" if self.sd is None else rounded(self.sd, self.decimals)

    @property
    def difference(self) -> float | None:
        """Ours less the paper's, in points."""
        return self.mean - float(self.published) if self.published is not None and self.values else None


@dataclass(frozen=True)
class Line:
    """One row of a table."""

    block: str
    metric: str  # Metric.name, or "l0"
    label: str
    method: str
    cells: tuple[Cell, ...]
    signed: bool = False  # a difference, printed with its sign

    def is_blank(self, cell: Cell) -> bool:
        """Whether nothing is meant to stand there (an unmasked SAE is not compared with itself), or it is not known."""
        return self.block == EQUAL_L0 and cell.p == 0


@dataclass(frozen=True)
class Table:
    """A table of one model and trainer. `by` says what its columns are: l0, or p at one l0."""

    name: str
    model: str
    layer: int
    trainer: str
    by: str
    columns: tuple[float, ...]
    seeds: int
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    demo: bool
    published: str | None  # the paper's table that it is compared with

    def block(self, name: str) -> list[Line]:
        return [line for line in self.lines if line.block == name]

    @property
    def title(self) -> str:
        at = f" at l0 = {self.lines[0].cells[0].l0}" if self.by == "p" else ""
        return f"{self.model}, layer {self.layer}, {self.trainer}: SAEs with and without masking{at}"


def rounded(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text  # no "-0.000"


def make_tables(settings: dict, scores: Scores, published: Published) -> dict[str, list[Table]]:
    """{table's name: its tables, one for each trainer}; `settings` as grid.table_settings has them."""
    return {
        entry["name"]: [_Maker(entry, trainer, settings, scores, published).table() for trainer in settings["trainers"]]
        for entry in settings["tables"]
    }


class _Maker:
    """One table: looks up its numbers and lays them out."""

    def __init__(self, entry: dict, trainer: str, settings: dict, scores: Scores, published: Published):
        self.entry, self.trainer, self.settings, self.scores = entry, trainer, settings, scores
        self.model = next(model for model in settings["models"] if model["name"] == entry["model"])
        p_of = {stream["name"]: float(stream["p"]) for stream in settings["streams"]}
        self.streams = {name: p_of[name] for name in entry["streams"]}
        self.unmasked = next((name for name, p in self.streams.items() if p == 0), None)
        self.masked = [name for name in self.streams if name != self.unmasked]
        self.by = "p" if len(self.masked) > 1 and len(entry["l0"]) == 1 else "l0"
        self.metrics = paper_metrics(settings["report"])
        self.unlike = published.unlike(self.model, trainer, settings)
        self.reference = None if self.unlike else published.table(published.model_of(self.model), self.by)
        cells = {(metric.label, p, l0) for metric in self.metrics for p in self.streams.values() for l0 in entry["l0"]}
        if self.reference and not cells & self.reference.values.keys():
            self.reference = None

    def table(self) -> Table:
        in_paper = [metric for metric in self.metrics if self.by == "l0" or metric.name in IN_TABLE_3]
        further = [metric for metric in self.metrics if metric not in in_paper]
        lines = [line for metric in in_paper for line in self.scored(PAPER, metric)]
        lines += [line for metric in further for line in self.scored(FURTHER, metric)]
        lines += self.laid_out(SPARSITY, "l0", "l0 on clean text", self.achieved)
        lines += [line for metric in in_paper for line in self.at_equal_l0(metric)]
        return Table(
            *(self.entry["name"], self.model["name"], self.model["layer"], self.trainer, self.by),
            columns=tuple(self.streams.values()) if self.by == "p" else tuple(self.entry["l0"]),
            seeds=len(self.settings["seeds"]),
            lines=tuple(lines),
            notes=tuple(self.notes()),
            demo=self.settings["demo"],
            published=self.reference.name if self.reference else None,
        )

    def scored(self, block: str, metric: Metric) -> list[Line]:
        def cell(stream: str, l0: int) -> Cell:
            rows = [self.row(stream, l0, seed, metric.key) for seed in self.settings["seeds"]]
            p = self.streams[stream]
            values = tuple(metric.scaled(row.value) for row in rows)
            printed = self.reference.values.get((metric.label, p, l0)) if self.reference else None
            return Cell(stream, p, l0, values, published=printed, sources=tuple(row.source for row in rows))

        lines = self.laid_out(block, metric.name, metric.label, cell)
        return _best_of_line(lines) if self.by == "p" else _best_of_columns(lines)

    def achieved(self, stream: str, l0: int) -> Cell:
        rows = [self.row(stream, l0, seed, ACHIEVED_L0) for seed in self.settings["seeds"]]
        values = tuple(row.value for row in rows)
        return Cell(stream, self.streams[stream], l0, values, decimals=1, sources=tuple(row.source for row in rows))

    def at_equal_l0(self, metric: Metric) -> list[Line]:
        """For each masked SAE: the unmasked score interpolated at the l0 that it has, and its gain over that."""
        if not (self.unmasked and self.masked):
            return []

        def baseline(stream: str, l0: int) -> Cell:
            values = [self.unmasked_at(self.row(stream, l0, seed, ACHIEVED_L0).value, seed, metric) for seed in seeds]
            found = tuple(values) if stream != self.unmasked and None not in values else ()
            return Cell(stream, self.streams[stream], l0, found)

        def gain(stream: str, l0: int) -> Cell:
            own = [metric.scaled(self.row(stream, l0, seed, metric.key).value) for seed in seeds]
            cell = baseline(stream, l0)
            return replace(cell, values=tuple(a - b for a, b in zip(own, cell.values, strict=False)))

        seeds = self.settings["seeds"]
        lines = []
        for streams in [list(self.streams)] if self.by == "p" else [[name] for name in self.masked]:
            which = f" ({self.method(streams[0])})" if self.by == "l0" and len(self.masked) > 1 else ""
            for method, cell in ((f"w/o Masking at equal l0{which}", baseline), (f"gain over that{which}", gain)):
                cells = tuple(cell(stream, l0) for stream in streams for l0 in self.entry["l0"])
                lines.append(Line(EQUAL_L0, metric.name, metric.label, method, cells, signed=cell is gain))
        return lines

    def unmasked_at(self, l0: float, seed: int, metric: Metric) -> float | None:
        """The unmasked SAEs' score at this l0 on clean text, linear in log l0 between neighbours; None beyond them."""
        nominal = self.entry["unmasked_l0"]
        l0s = [self.row(self.unmasked, each, seed, ACHIEVED_L0).value for each in nominal]
        values = [metric.scaled(self.row(self.unmasked, each, seed, metric.key).value) for each in nominal]
        return at_l0(l0, l0s, values)

    def laid_out(self, block: str, metric: str, label: str, cell) -> list[Line]:
        """A line for each stream with a column an l0, or one line with a column a stream."""
        if self.by == "p":
            (l0,) = self.entry["l0"]
            return [Line(block, metric, label, "", tuple(cell(stream, l0) for stream in self.streams))]
        return [
            Line(block, metric, label, self.method(stream), tuple(cell(stream, l0) for l0 in self.entry["l0"]))
            for stream in self.streams
        ]

    def row(self, stream: str, l0: int, seed: int, key: str):
        return self.scores.row(self.model["name"], stream, self.trainer, l0, seed, key)

    def method(self, stream: str) -> str:
        """As the paper has it; with more than one masked stream, which one."""
        p = self.streams[stream]
        if stream == self.unmasked:
            return "w/o Masking"
        if len(self.masked) == 1:
            return "w/ Masking"
        alone = list(self.streams.values()).count(p) == 1
        return f"w/ Masking, p = {p:g}" if alone else f"w/ Masking, {stream}"

    def notes(self) -> list[str]:
        report, seeds = self.settings["report"], len(self.settings["seeds"])
        best = "of a row" if self.by == "p" else "of a metric at each l0"
        notes = [DEMO] if self.settings["demo"] else []
        notes += [
            "n = 1 SAE for each number: how it would vary from seed to seed is not known."
            if seeds == 1
            else f"Mean ± standard deviation over n = {seeds} seeds.",
            "Percent, absorption as 100 x (1 - score); higher is better. "
            f"Bold: the best {best}, as printed; none if all are equal.",
            f"Explained variance is {EXPLAINED_VARIANCE[report['explained_variance']]}; "
            f"TPP and SCR with N = {report['n']} latents, sparse probing with k = {report['k']}.",
        ]
        if self.unmasked and self.masked:
            notes.append(
                "At equal l0 (not in the paper): the unmasked SAEs' score at the l0 on clean text that the masked SAE "
                "has, interpolated in log l0, and what the masked SAE gains over it; — where it has more latents "
                "active than any unmasked one, or fewer."
            )
        if self.reference:
            notes.append(
                f"Paper: {self.reference.name} as published (arXiv 2604.06495); in brackets, ours less the paper's. "
                "The paper leaves open which explained variance, N and k it shows, and whether absorption's prompts "
                "start with BOS: these are our choices."
            )
        else:
            why = self.unlike or "the paper has none of these cells"
            notes.append(f"Not comparable with the paper's numbers: {why}.")
        return notes


def _best_of_columns(lines: list[Line]) -> list[Line]:
    columns = [_marked(cells) for cells in zip(*(line.cells for line in lines), strict=True)]
    return [replace(line, cells=tuple(column[i] for column in columns)) for i, line in enumerate(lines)]


def _best_of_line(lines: list[Line]) -> list[Line]:
    return [replace(line, cells=_marked(line.cells)) for line in lines]


def _marked(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """The best, as printed; several if they tie, and none if all do: then no one is better."""
    printed = [float(cell.printed) for cell in cells]
    if len(set(printed)) == 1:
        return cells
    return tuple(replace(cell, best=value == max(printed)) for cell, value in zip(cells, printed, strict=True))
