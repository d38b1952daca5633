"""The headline numbers for a terminal: at the smallest l0, each model with and without masking."""

from collections import Counter
from statistics import mean

from .metrics import ACHIEVED_L0
from .scores import Scores
from .tables import DEMO, PAPER, Table
from .verdicts import NOT_TESTED, Verdict

WIDTH, LABEL = 14, 24


def summary(tables: dict[str, list[Table]], scores: Scores, seeds: list[int], found: list[Verdict]) -> str:
    shown = [table for of_trainers in tables.values() for table in of_trainers if table.by == "l0"]
    lines = [line for table in shown for line in [*_numbers(table, scores, seeds), ""]]
    demo = any(table.demo for table in shown)
    return "\n".join([*([DEMO, ""] if demo else []), *lines, _of_claims(found), ""])


def _numbers(table: Table, scores: Scores, seeds: list[int]) -> list[str]:
    columns = [line for line in table.block(PAPER) if line.metric == table.lines[0].metric]
    lines = [
        f"{table.model}, {table.trainer}, l0 = {table.columns[0]:g}, n = {table.seeds}; * the better",
        _line("", [line.method for line in columns]),
    ]
    for label in dict.fromkeys(line.label for line in table.block(PAPER)):
        cells = [line.cells[0] for line in table.block(PAPER) if line.label == label]
        lines.append(_line(label, [cell.printed + (" *" if cell.best else "  ") for cell in cells]))

    def over_seeds(key: str) -> list[float]:
        cells = [line.cells[0] for line in columns]
        return [
            mean(scores.value(table.model, cell.stream, table.trainer, cell.l0, seed, key) for seed in seeds)
            for cell in cells
        ]

    oracle = f"OOD AUC (oracle {scores.oracle(table.model):.3f})"
    lines.append(_line(oracle, [f"{value:.3f}  " for value in over_seeds("ood.auc")]))
    lines.append(_line("l0 on clean text", [f"{value:.1f}  " for value in over_seeds(ACHIEVED_L0)]))
    return lines


def _line(label: str, cells: list[str]) -> str:
    return f"  {label:<{LABEL}}{''.join(f'{cell:>{WIDTH}}' for cell in cells)}".rstrip()


def _of_claims(found: list[Verdict]) -> str:
    counts = Counter(verdict.verdict for verdict in found)
    if counts.keys() <= {NOT_TESTED}:
        return "The paper's claims: none is tested by this run."
    return f"The paper's claims: {', '.join(f'{count} {kind}' for kind, count in counts.most_common())}."
