"""The paper's tables from scores.csv: the entries of each row and column, at full precision.

Beyond the paper's rows: the l0 that each SAE has on clean text, and what the baseline's SAEs would score at that l0.
Masking raises it, so a better score at equal nominal l0 may only be that of a less sparse SAE.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

from ..activations.settings import Stream
from ..inference.equal_l0 import baseline_at_l0_of
from ..inference.published import Published
from ..inference.settings import ReportChoices, Shown, ShownTable
from ..saes.cells import Cell
from ..saes.settings import Trainer
from ..scores.metrics import ACHIEVED_L0, BESIDE_ABSORPTION, EXPLAINED_VARIANCE, Metric
from ..scores.table import Row, Scores

DEMO = "Demo: small language models that the workflow trained itself; no evidence about the paper."

BESIDE = (
    "A word counts as fully absorbed only if its letter's latents are silent, so full absorption falls by construction "
    "as more latents are active; the absorption fraction also counts words for which they fire too little. Split "
    "features: latents for a letter, not in percent; lower is better. Best single latent: F1 of one latent on a letter."
)

# Blocks of a table, in this order.
PAPER, FURTHER, SPARSITY, EQUAL_L0 = "paper", "further", "sparsity", "equal_l0"
IN_TABLE_3 = ("absorption", "explained_variance")


@dataclass(frozen=True)
class Entry:
    """One place in a table. `values` has a number for each seed, and is empty if there is none."""

    stream: Stream
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
        """Sample standard deviation over seeds; None with one seed."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def printed(self) -> str:
        """The mean as printed; "" if there is none."""
        return "" if self.mean is None else rounded(self.mean, self.decimals)

    @property
    def printed_sd(self) -> str:
        return "" if self.sd is None else rounded(self.sd, self.decimals)

    @property
    def difference(self) -> float | None:
        """Ours less the paper's, in points."""
        if self.mean is None or self.published is None:
            return None
        return self.mean - float(self.published)


@dataclass(frozen=True)
class Line:
    """One row of a table."""

    block: str
    metric: str  # Metric.name, or "l0"
    label: str
    method: str
    entries: tuple[Entry, ...]
    signed: bool = False  # a difference, printed with its sign

    def is_blank(self, entry: Entry) -> bool:
        """Whether an empty entry is meant to be empty (the baseline is not compared with itself), and not unknown."""
        return self.block == EQUAL_L0 and entry.stream.is_baseline


@dataclass(frozen=True)
class Table:
    """A table of one model and trainer. `by` says what its columns are: l0s, or streams at one l0."""

    name: str
    model: str
    layer: int
    trainer: str
    by: str
    columns: tuple[str, ...]  # their headings
    seeds: int
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    demo: bool
    published: str | None  # the paper's table that it is compared with

    def block(self, name: str) -> list[Line]:
        return [line for line in self.lines if line.block == name]

    @property
    def title(self) -> str:
        at = f" at l0 = {self.lines[0].entries[0].l0}" if self.by == "stream" else ""
        return f"{self.model}, layer {self.layer}, {self.trainer}: SAEs with and without masking{at}"


def rounded(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text  # no "-0.000"


def head(stream: Stream, streams: Sequence[Stream]) -> str:
    """p, if that identifies the stream among these; else the stream's name."""
    alike = [other for other in streams if other.p == stream.p]
    return f"p = {stream.p:g}" if stream.as_in_the_paper and len(alike) == 1 else stream.name


def which_numbers(report: ReportChoices) -> str:
    return (
        f"Explained variance is {EXPLAINED_VARIANCE[report.explained_variance]}; "
        f"TPP and SCR with N = {report.n} latents, sparse probing with k = {report.k}."
    )


def make_tables(shown: Shown, scores: Scores, published: Published) -> dict[str, list[Table]]:
    """{name of a table: its tables, one for each trainer}"""
    return {
        entry.name: [_Maker(entry, trainer, shown, scores, published).table() for trainer in shown.trainers]
        for entry in shown.tables
    }


class _Maker:
    """Makes one table: looks up its numbers and lays them out."""

    def __init__(self, entry: ShownTable, trainer: Trainer, shown: Shown, scores: Scores, published: Published):
        self.asked, self.trainer, self.shown, self.scores = entry, trainer, shown, scores
        self.model = next(model for model in shown.models if model.name == entry.model)
        self.streams = [shown.stream(name) for name in entry.streams]
        self.baseline = next((stream for stream in self.streams if stream.is_baseline), None)
        self.corrupted = [stream for stream in self.streams if not stream.is_baseline]
        self.by = "stream" if len(self.corrupted) > 1 and len(entry.l0) == 1 else "l0"
        self.metrics = shown.report.all_metrics
        self.why_not_comparable = published.why_not_comparable(self.model, trainer, shown)
        name = None if self.why_not_comparable else published.model_of(self.model)
        self.reference = published.table(name, "l0" if self.by == "l0" else "p") if name else None
        if self.reference and not any(
            self.printed(metric, *place) for metric in self.metrics for place in self.places()
        ):
            self.reference = None

    def places(self) -> list[tuple[Stream, int]]:
        return [(stream, l0) for stream in self.streams for l0 in self.asked.l0]

    def table(self) -> Table:
        in_paper = [metric for metric in self.shown.report.metrics if self.by == "l0" or metric.name in IN_TABLE_3]
        further = [metric for metric in self.metrics if metric not in in_paper]
        lines = [line for metric in in_paper for line in self.scored(PAPER, metric)]
        lines += [line for metric in further for line in self.scored(FURTHER, metric)]
        lines += self.laid_out(SPARSITY, "l0", "l0 on clean text", self.achieved)
        # Of a count there is no gain in points.
        compared = [metric for metric in self.metrics if metric in (*in_paper, *BESIDE_ABSORPTION) and metric.percent]
        lines += [line for metric in compared for line in self.at_equal_l0(metric)]
        heads = [head(stream, self.streams) for stream in self.streams] if self.by == "stream" else []
        return Table(
            *(self.asked.name, self.model.name, self.model.layer, self.trainer.name, self.by),
            columns=tuple(heads or (f"l0 = {l0}" for l0 in self.asked.l0)),
            seeds=len(self.shown.seeds),
            lines=tuple(lines),
            notes=tuple(self.notes()),
            demo=self.shown.demo,
            published=self.reference.name if self.reference else None,
        )

    def scored(self, block: str, metric: Metric) -> list[Line]:
        def entry(stream: Stream, l0: int) -> Entry:
            rows = [self.row(stream, l0, seed, metric.key) for seed in self.shown.seeds]
            values, sources = tuple(metric.scaled(row.value) for row in rows), tuple(row.source for row in rows)
            return Entry(stream, l0, values, published=self.printed(metric, stream, l0), sources=sources)

        lines = self.laid_out(block, metric.name, metric.label, entry)
        best = min if metric.lower_is_better else max
        return _best_of_line(lines, best) if self.by == "stream" else _best_of_columns(lines, best)

    def printed(self, metric: Metric, stream: Stream, l0: int) -> str | None:
        """What the paper printed for this SAE; nothing for a stream that is not made as in the paper."""
        if self.reference is None or not stream.as_in_the_paper or (stream.p == 0) != stream.is_baseline:
            return None
        return self.reference.values.get((metric.label, stream.p, l0))

    def achieved(self, stream: Stream, l0: int) -> Entry:
        rows = [self.row(stream, l0, seed, ACHIEVED_L0) for seed in self.shown.seeds]
        values = tuple(row.value for row in rows)
        return Entry(stream, l0, values, decimals=1, sources=tuple(row.source for row in rows))

    def at_equal_l0(self, metric: Metric) -> list[Line]:
        """For each corrupted SAE: the baseline's score interpolated at its l0, and its gain over that."""
        if not (self.baseline and self.corrupted):
            return []

        def baseline(stream: Stream, l0: int) -> Entry:
            values = [self.baseline_at(stream, l0, seed, metric) for seed in self.shown.seeds]
            known = tuple(value for value in values if value is not None)
            return Entry(stream, l0, known if len(known) == len(values) and not stream.is_baseline else ())

        def gain(stream: Stream, l0: int) -> Entry:
            entry = baseline(stream, l0)
            own = [metric.scaled(self.row(stream, l0, seed, metric.key).value) for seed in self.shown.seeds]
            return replace(entry, values=tuple(a - b for a, b in zip(own, entry.values, strict=False)))

        lines = []
        for streams in [self.streams] if self.by == "stream" else [[stream] for stream in self.corrupted]:
            which = f" ({self.method(streams[0])})" if self.by == "l0" and len(self.corrupted) > 1 else ""
            for method, entry in ((f"w/o Masking at equal l0{which}", baseline), (f"gain over that{which}", gain)):
                entries = tuple(entry(stream, l0) for stream in streams for l0 in self.asked.l0)
                lines.append(Line(EQUAL_L0, metric.name, metric.label, method, entries, signed=entry is gain))
        return lines

    def baseline_at(self, stream: Stream, l0: int, seed: int, metric: Metric) -> float | None:
        """Interpolated between all baseline SAEs of this model and seed, as for contrasts."""
        assert self.baseline is not None
        l0s = self.shown.compared_l0s(self.model.name, self.baseline)
        baselines = [self.cell(self.baseline, baseline_l0, seed) for baseline_l0 in l0s]
        value = baseline_at_l0_of(self.cell(stream, l0, seed), baselines, metric.key, self.scores)
        return None if value is None else metric.scaled(value)

    def laid_out(self, block: str, metric: str, label: str, entry: Callable[[Stream, int], Entry]) -> list[Line]:
        """A line for each stream, with a column for each l0; or one line, with a column for each stream."""
        if self.by == "stream":
            (l0,) = self.asked.l0
            return [Line(block, metric, label, "", tuple(entry(stream, l0) for stream in self.streams))]
        return [
            Line(block, metric, label, self.method(stream), tuple(entry(stream, l0) for l0 in self.asked.l0))
            for stream in self.streams
        ]

    def cell(self, stream: Stream, l0: int, seed: int) -> Cell:
        return self.shown.cell(self.model.name, stream.name, self.trainer.name, l0, seed)

    def row(self, stream: Stream, l0: int, seed: int, key: str) -> Row:
        return self.scores.row(self.cell(stream, l0, seed), key)

    def method(self, stream: Stream) -> str:
        """As in the paper; with several corrupted streams, with its p; any other stream by its name."""
        if stream.is_baseline:
            return "w/o Masking"
        if not stream.as_in_the_paper:
            return stream.name
        return "w/ Masking" if len(self.corrupted) == 1 else f"w/ Masking, {head(stream, self.streams)}"

    def notes(self) -> list[str]:
        seeds = len(self.shown.seeds)
        best = "of a row" if self.by == "stream" else "of a metric at each l0"
        notes = [DEMO] if self.shown.demo else []
        notes += [
            "n = 1 SAE for each number: how it would vary from seed to seed is not known."
            if seeds == 1
            else f"Mean ± standard deviation over n = {seeds} seeds.",
            "Percent, absorption as 100 x (1 - score); higher is better. "
            f"Bold: the best {best}, as printed; none if all are equal.",
            which_numbers(self.shown.report),
            BESIDE,
        ]
        if self.baseline and self.corrupted:
            notes.append(
                "At equal l0 (not in the paper): the score of SAEs trained without masking at the l0 on clean text "
                "that the masked SAE has, interpolated in log l0, and what the masked SAE gains over it; — where it "
                "has more latents active than any of them, or fewer."
            )
        if self.reference:
            notes.append(
                f"Paper: {self.reference.name} as published (arXiv 2604.06495); in brackets, ours less the paper's. "
                "The paper leaves open which explained variance, N and k it shows, and whether absorption's prompts "
                "start with BOS: these are our choices."
            )
        else:
            why = self.why_not_comparable or "the paper has none of these cells"
            notes.append(f"Not comparable with the paper's numbers: {why}.")
        return notes


Best = Callable[[list[float]], float]  # min or max


def _best_of_columns(lines: list[Line], best: Best) -> list[Line]:
    columns = [_marked(entries, best) for entries in zip(*(line.entries for line in lines), strict=True)]
    return [replace(line, entries=tuple(column[i] for column in columns)) for i, line in enumerate(lines)]


def _best_of_line(lines: list[Line], best: Best) -> list[Line]:
    return [replace(line, entries=_marked(line.entries, best)) for line in lines]


def _marked(entries: tuple[Entry, ...], best: Best) -> tuple[Entry, ...]:
    """Mark the best, as printed: several if they tie, none if all are equal."""
    printed = [float(entry.printed) for entry in entries]
    if len(set(printed)) == 1:
        return entries
    return tuple(replace(entry, best=value == best(printed)) for entry, value in zip(entries, printed, strict=True))
