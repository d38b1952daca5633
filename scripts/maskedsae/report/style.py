"""One style for all figures: sizes, fonts, a colour and a marker for each stream, and files whose bytes depend only on
what is drawn.

Colours are Okabe and Ito's, dark enough for thin lines on white: orange for the baseline, blues for the paper's masks
(the darker, the more is masked), and the others for other corruptions. Markers, hatches and dashes carry the same
information for print without colour.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from ..activations.settings import Stream
from ..jobs.files import write_bytes

WIDTH = 7.2  # inches: the width of a page's text
DPI = 200  # of .png
INK, MUTED, GRID, PAPER, ALERT = "#1f2328", "#5c6670", "#dfe3e8", "#ffffff", "#b3261e"

# The baseline and the paper's masks, by p: (colour on a light page, on a dark one, marker); other p are mixed.
SHADES = {
    0.0: ("#c77c00", "#f0a93b", "o"),
    0.2: ("#3e9bd6", "#8fcdf7", "s"),
    0.3: ("#0067a5", "#4ba3ea", "D"),
    0.5: ("#14285f", "#a9a6ff", "^"),
    1.0: ("#0b1230", "#d8d5ff", "v"),
}
# All other streams, in their order: green, purple, vermilion, grey, olive, brown.
OTHERS = (
    ("#00795a", "#39c99f", "P"),
    ("#a8437f", "#e58fc0", "X"),
    ("#b84700", "#ff8a4c", "<"),
    ("#5f6b75", "#b3bec8", ">"),
    ("#7a7300", "#d3c94a", "p"),
    ("#6d4423", "#c99a72", "h"),
)

# Imported SAEs are grey, which both kinds of page have; groups of them differ in their markers.
IMPORTED_MARKERS = ("d", "*", "H", "v", "8", "P", "<", ">")

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "hatch.linewidth": 0.6,
    "savefig.facecolor": PAPER,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
}


@contextmanager
def style(name: str) -> Iterator[None]:
    """Matplotlib's own defaults with ours, independent of a user's matplotlibrc."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = STYLE | {"svg.hashsalt": name}  # matplotlib's types list every key
        matplotlib.rcParams.update(settings)
        yield


@dataclass(frozen=True)
class Look:
    """How a stream is drawn."""

    light: str  # its colour on a light page
    dark: str  # and on a dark one
    marker: str
    baseline: bool

    @property
    def line(self) -> dict[str, Any]:
        """The baseline hollow and dashed, all others solid."""
        return {
            "color": self.light,
            "marker": self.marker,
            "markerfacecolor": PAPER if self.baseline else self.light,
            "markeredgecolor": self.light,
            "markeredgewidth": 1.3,
            "linestyle": (0, (3.5, 1.8)) if self.baseline else "-",
        }


def looks(streams: Sequence[Stream]) -> dict[str, Look]:
    """{stream: its look}; no two have the same colour."""
    found: dict[str, Look] = {}
    others = 0
    for stream in streams:
        shade = Look(*_shade(stream.p), stream.is_baseline)
        taken = {look.light for look in found.values()}
        if not stream.as_in_the_paper or (not stream.is_baseline and stream.p == 0) or shade.light in taken:
            light, dark, marker = OTHERS[others % len(OTHERS)]
            rounds = 1 + others // len(OTHERS)  # once all are taken, darker ones, and lighter on a dark page
            shade = Look(_mixed(light, "#000000", 1 / rounds), _mixed(dark, "#ffffff", 1 / rounds), marker, False)
            others += 1
        found[stream.name] = shade
    return found


def imported_line(number: int, joined: bool) -> dict[str, Any]:
    """How the group of this number is drawn: filled; once all markers are taken, hollow."""
    rounds, marker = divmod(number, len(IMPORTED_MARKERS))
    return {
        "color": MUTED,
        "marker": IMPORTED_MARKERS[marker],
        "markerfacecolor": PAPER if rounds % 2 else MUTED,
        "linestyle": ":" if joined else "none",
        "linewidth": 1,
        "markersize": 5.5,
    }


def label(stream: Stream, streams: Sequence[Stream]) -> str:
    """A stream in a legend: what it is, and its name if another stream has the same words."""
    words = _words(stream)
    return words if [_words(other) for other in streams].count(words) == 1 else f"{words} ({stream.name})"


def _words(stream: Stream) -> str:
    """What was done to its text, with every setting; and how context and rows differ from the paper's."""
    if stream.corruption is None:
        return "without masking"
    settings = [f"{key} = {_shown(value)}" for key, value in stream.corruption.plain().items() if key != "kind"]
    words = ", ".join([stream.corruption.done, *settings])
    words += {"corrupted": "", "clean": ", clean context", "noise": ", its effect as noise"}[stream.context]
    return words + (", untouched rows" if stream.rows == "untouched" else "")


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else f"“{value}”" if isinstance(value, str) else str(value)


def _shade(p: float) -> tuple[str, str, str]:
    below = max(known for known in SHADES if known <= p)
    above = min(known for known in SHADES if known >= p)
    share = (p - below) / (above - below) if above > below else 0
    light, dark = (_mixed(SHADES[above][page], SHADES[below][page], share) for page in (0, 1))
    return light, dark, SHADES[min(SHADES, key=lambda known: abs(known - p))][2]


def _mixed(one: str, other: str, share: float) -> str:
    """`share` of one colour and the rest of the other."""
    pairs = zip(to_rgb(one), to_rgb(other), strict=True)
    red, green, blue = (b + share * (a - b) for a, b in pairs)
    return to_hex((red, green, blue))


def write(figure: Figure, paths: Sequence[str | Path]) -> None:
    """A file for each path, in the format of its ending; without dates and versions, so the same scores give the same
    bytes."""
    _lay_out(figure)
    nothing: dict[str, dict[str, None]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
    nothing["pdf"] = {"CreationDate": None, "Creator": None, "Producer": None}
    for path in map(Path, paths):
        kind = path.suffix[1:]
        data = io.BytesIO()
        figure.savefig(data, format=kind, dpi=DPI, metadata=nothing[kind])
        write_bytes(path, data.getvalue())


def _lay_out(figure: Figure) -> None:
    """Once for all formats, and to four decimals: a PDF once differed between two processes, and only the layout's
    solver has last bits that may depend on more than the scores."""
    figure.set_dpi(DPI)  # at a lower DPI the same words are narrower, and had too little room
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(float(edge), 4) for edge in axes.get_position().bounds)
        axes.set_position((left, bottom, width, height))
