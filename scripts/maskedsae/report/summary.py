"""The headline numbers for a terminal: at the smallest l0, each model with and without masking."""

from collections import Counter
from statistics import mean
from textwrap import fill
from typing import Any

from ..inference.settings import Shown
from ..inference.verdicts import NOT_TESTED
from ..scores.metrics import ACHIEVED_L0
from ..scores.table import Scores
from .answer import answer
from .tables import DEMO, FURTHER, PAPER, Table

WIDTH, LABEL, PAGE = 14, 24, 100


def summary(tables: dict[str, list[Table]], scores: Scores, shown: Shown, verdicts: dict[str, Any]) -> str:
    printed = [table for by_trainer in tables.values() for table in by_trainer if table.by == "l0"]
    lines = [line for table in printed for line in [*_numbers(table, scores, shown), ""]]
    decided = [fill(f"Is it masking, or only sparsity? {answer(verdicts, shown)}", PAGE), ""]
    demo = [DEMO, ""] if printed and shown.demo else []
    return "\n".join([*demo, *lines, *decided, _claims(verdicts["claims"]), ""])


def _numbers(table: Table, scores: Scores, shown: Shown) -> list[str]:
    columns = [line for line in table.block(PAPER) if line.metric == table.lines[0].metric]
    width = max(WIDTH, *(len(line.method) + 2 for line in columns))

    def row(label: str, texts: list[str]) -> str:
        return f"  {label:<{LABEL}}{''.join(f'{text:>{width}}' for text in texts)}".rstrip()

    lines = [
        f"{table.model}, {table.trainer}, {table.columns[0]}, n = {table.seeds}; * marks the best",
        row("", [line.method for line in columns]),
    ]
    shown_lines = [*table.block(PAPER), *table.block(FURTHER)]
    for label in (metric.label for metric in shown.report.all_metrics):
        entries = [line.entries[0] for line in shown_lines if line.label == label]
        lines.append(row(label, [entry.printed + (" *" if entry.best else "  ") for entry in entries]))

    def over_seeds(key: str) -> list[float]:
        return [
            mean(
                scores.value(shown.cell(table.model, entry.stream.name, table.trainer, entry.l0, seed), key)
                for seed in shown.seeds
            )
            for entry in (line.entries[0] for line in columns)
        ]

    oracle = f"OOD AUC (oracle {scores.oracle(table.model):.3f})"
    lines.append(row(oracle, [f"{value:.3f}  " for value in over_seeds("ood.auc")]))
    lines.append(row("l0 on clean text", [f"{value:.1f}  " for value in over_seeds(ACHIEVED_L0)]))
    return lines


def _claims(found: list[dict[str, Any]]) -> str:
    counts = Counter(verdict["verdict"] for verdict in found)
    if counts.keys() <= {NOT_TESTED}:
        return "The paper's claims: none is tested by this run."
    return f"The paper's claims: {', '.join(f'{count} {kind}' for kind, count in counts.most_common())}."
