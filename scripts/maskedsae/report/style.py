"""One look for all figures: sizes, fonts, a colour and a marker for each share of masked tokens, and files whose bytes
depend on nothing but what is drawn.

Colours are Okabe and Ito's orange and blues, dark enough for thin lines on white; markers, hatches and dashes tell the
same again, for print without colour.
"""

import io
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ..files import write_bytes

WIDTH = 7.2  # inches: a page's text
DPI = 200  # of .png
INK, MUTED, GRID, PAPER, ALERT = "#1f2328", "#5c6670", "#dfe3e8", "#ffffff", "#b3261e"

# p: (on a light page, on a dark one, marker); between them, colours are mixed.
SHADES = {
    0.0: ("#c77c00", "#f0a93b", "o"),
    0.2: ("#3e9bd6", "#8fcdf7", "s"),
    0.3: ("#0067a5", "#4ba3ea", "D"),
    0.5: ("#14285f", "#a9a6ff", "^"),
    1.0: ("#0b1230", "#d8d5ff", "v"),
}

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
def style(name: str):
    """Matplotlib's own defaults and ours, whatever a user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": name})
        yield


def colour(p: float, dark: bool = False) -> str:
    below = max(known for known in SHADES if known <= p)
    above = min(known for known in SHADES if known >= p)
    share = (p - below) / (above - below) if above > below else 0
    low, high = (matplotlib.colors.to_rgb(SHADES[known][dark]) for known in (below, above))
    return matplotlib.colors.to_hex([a + share * (b - a) for a, b in zip(low, high, strict=True)])


def line_of(p: float) -> dict:
    """Unmasked: hollow and dashed, the baseline. Masked: solid, with a marker of its own."""
    marker = SHADES[min(SHADES, key=lambda known: abs(known - p))][2]
    return {
        "color": colour(p),
        "marker": marker,
        "markerfacecolor": colour(p) if p else PAPER,
        "markeredgecolor": colour(p),
        "markeredgewidth": 1.3,
        "linestyle": "-" if p else (0, (3.5, 1.8)),
    }


def write(figure: Figure, paths: list[str | Path]) -> None:
    """A file for each path, by its ending; without dates and versions, so that the same scores give the same bytes."""
    _lay_out(figure)
    nothing = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
    nothing["pdf"] = {"CreationDate": None, "Creator": None, "Producer": None}
    for path in map(Path, paths):
        kind = path.suffix[1:]
        data = io.BytesIO()
        figure.savefig(data, format=kind, dpi=DPI, metadata=nothing[kind])
        write_bytes(path, data.getvalue())


def _lay_out(figure: Figure) -> None:
    """Once for all forms, and to four decimals: a PDF once differed between two processes, and the layout's solver is
    the one thing here whose last bits may depend on more than the scores."""
    figure.set_dpi(DPI)  # at fewer dots the same words come out narrower, and had too little room
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position([round(float(edge), 4) for edge in axes.get_position().bounds])
