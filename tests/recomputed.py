"""The tables' cells once more, straight from the JSON files and the configuration, without the code that made them."""

import csv
import json
import re
from itertools import groupby
from math import log
from operator import itemgetter
from pathlib import Path

BESIDE = ("Absorption Fraction", "Split Features", "Best Single Latent")  # not in the paper


def score(cell: Path, row: str, report: dict) -> float:
    """A row of one cell, in percent if it is no count."""

    def metrics(stem: str) -> dict:
        return json.loads((cell / "scores" / f"{stem}.json").read_text())["eval_result_metrics"]

    if row == "Mean Full Absorption":
        return 100 * (1 - metrics("absorption")["mean"]["mean_full_absorption_score"])
    if row == "Absorption Fraction":
        return 100 * (1 - metrics("absorption")["mean"]["mean_absorption_fraction_score"])
    if row == "Split Features":
        return metrics("absorption")["mean"]["mean_num_split_features"]
    if row == "Best Single Latent":
        return 100 * json.loads((cell / "scores" / "letters.json").read_text())["best_latent_f1"]
    if row == "Explained Variance":
        assert report["explained_variance"] == "legacy"
        return 100 * metrics("core")["reconstruction_quality"]["explained_variance_legacy"]
    if row == "Sparse Probing":
        return 100 * metrics("sparse_probing")["sae"][f"sae_top_{report['k']}_test_accuracy"]
    if row == "TPP":
        return 100 * metrics("tpp")["tpp_metrics"][f"tpp_threshold_{report['n']}_total_metric"]
    return 100 * metrics("scr")["scr_metrics"][f"scr_metric_threshold_{report['n']}"]


def achieved(cell: Path) -> float:
    return json.loads((cell / "sae" / "quality.json").read_text())["l0"]


def unmasked_at(l0: float, points: list[tuple[float, float]]) -> float | None:
    """Between the two neighbours in log l0."""
    for (low, before), (high, after) in zip(sorted(points), sorted(points)[1:], strict=False):
        if low <= l0 <= high:
            share = (log(l0) - log(low)) / (log(high) - log(low))
            return before + share * (after - before)
    return None


def check_tables(folder: Path, config: dict) -> int:
    """Asserts that every number of every table in `folder` (results/{run}) is what it says; how many there were."""
    report, (seed,), (trainer,) = config["report"], config["seeds"], config["trainers"]
    (baseline,) = (stream["name"] for stream in config["streams"] if not (stream.get("p") or stream.get("corruption")))
    checked = 0
    for table in config["tables"]:
        l0s = table["l0"] or config["l0"]

        def cell(stream: str, l0: int, model: str = table["model"]) -> Path:
            return folder / model / stream / trainer / f"l0_{l0}" / f"seed_{seed}"

        with open(folder / "tables" / f"{table['name']}.csv", newline="") as file:
            lines = list(csv.DictReader(file))
        unmasked = [path.parent for path in cell(baseline, 0).parents[1].glob("l0_*/seed_*")]
        for line in lines:
            place = cell(line["stream"], int(line["l0"]))
            row, masked = line["metric"], line["stream"] != baseline
            if line["block"] == "sparsity":
                expected, decimals = achieved(place), 1
            elif line["block"] == "equal_l0":
                points = [
                    (achieved(path / f"seed_{seed}"), score(path / f"seed_{seed}", row, report)) for path in unmasked
                ]
                expected, decimals = unmasked_at(achieved(place), points) if masked else None, 3
                if line["method"].startswith("gain") and expected is not None:
                    expected = score(place, row, report) - expected
            else:
                expected, decimals = score(place, row, report), 3
            checked += 1
            if expected is None:
                assert (line["value"], line["printed"], line["n"]) == ("", "", "0"), line
                continue
            assert abs(float(line["value"]) - expected) < 1e-9, line
            assert line["printed"] == f"{expected:.{decimals}f}", line
            assert line["n"] == "1"
            assert line["published"] == line["difference"] == line["sd"] == ""
            # The best, as printed, of the streams at this l0.
            rivals = []
            if line["block"] in ("paper", "further"):
                rivals = [round(score(cell(stream, int(line["l0"])), row, report), 3) for stream in table["streams"]]
            best_of = min if row == "Split Features" else max
            best = len(set(rivals)) > 1 and round(expected, 3) == best_of(rivals)
            assert (row in BESIDE) <= (line["block"] in ("further", "equal_l0")), line
            assert line["bold"] == str(int(best)), line
        # Nothing was left out: the paper's five metrics, three of ours, the l0; and two lines more for each metric of
        # the first block and for two of ours.
        by_stream = len(l0s) == 1 and len(table["streams"]) > 2
        places = len(table["streams"]) * len(l0s)
        compared = (2 + 2) * places if by_stream else (5 + 2) * len(l0s)
        assert len(lines) == 9 * places + 2 * compared, table["name"]
        # And each stands where it belongs in the other two files.
        printed = rows(lines, baseline, by_stream)
        assert rows_of_markdown((folder / "tables" / f"{table['name']}.md").read_text()) == printed
        assert rows_of_latex((folder / "tables" / f"{table['name']}.tex").read_text()) == printed
    return checked


def rows(lines: list[dict], baseline: str, by_stream: bool) -> list[list[str]]:
    """The rows of a printed table, from the lines of its csv: labels, and numbers with a star where they are bold."""
    made, before = [], None
    for (block, metric, method), of_row in groupby(lines, itemgetter("block", "metric", "method")):
        label = metric if (block, metric) != before else ""
        labels = [": ".join(filter(None, (label, method)))] if by_stream else [label, method]
        made.append([*labels, *(number(line, baseline) for line in of_row)])
        before = block, metric
    return made


def number(line: dict, baseline: str) -> str:
    if not line["printed"]:
        return "" if line["stream"] == baseline else "—"
    sign = "+" if line["method"].startswith("gain") and float(line["printed"]) > 0 else ""
    return sign + line["printed"] + "*" * int(line["bold"])


def rows_of_markdown(text: str) -> list[list[str]]:
    found = []
    for line in text.splitlines():
        texts = [each.strip() for each in line.strip("|").split("|")]
        if line.startswith("|") and not re.match(r"Metric|:--|\*", texts[0]):
            found.append([re.sub(r"^\*\*(.*)\*\*$", r"\1*", each).replace("\u2212", "-") for each in texts])
    return found


def rows_of_latex(text: str) -> list[list[str]]:
    found = []
    for line in text.split(r"\midrule", 1)[1].split(r"\bottomrule")[0].splitlines():
        if " & " in line:
            texts = [each.strip() for each in line.removesuffix(r" \\").split("&")]
            texts = [each.replace(r"$\ell_0$", "l0").replace("$-$", "-").replace("---", "—") for each in texts]
            found.append([re.sub(r"^\\textbf{(.*)}$", r"\1*", each) for each in texts])
    return found
