"""How much better a masked SAE's probes do out of distribution than those of the unmasked SAE of its l0 and seed."""

from pathlib import Path

from ..errors import InputError
from ..ood.intervals import TESTS, paired_difference
from .plan import cell_of


def differences(paths: list[str], settings: dict) -> list[dict]:
    """Of each masked SAE of these ood_rows.csv with an unmasked counterpart: its AUCs less that one's, paired by row.

    `settings` as grid.difference_settings has them.
    """
    if missing := [path for path in paths if not Path(path).exists()]:
        raise InputError(f"{missing[0]}: missing: ask Snakemake for it, and its job says why it cannot be made")
    p_of = {stream["name"]: stream["p"] for stream in settings["streams"]}
    files = {cell_of(path): path for path in paths}
    unmasked = {cell._replace(stream=""): cell for cell in files if p_of[cell.stream] == 0}
    found = []
    for cell, path in files.items():
        baseline = unmasked.get(cell._replace(stream=""))
        if p_of[cell.stream] and baseline:
            paired = paired_difference(path, files[baseline], settings["ood"]["bootstrap"], settings["ood"]["seed"])
            facts = {test: {key: paired[test][key] for key in ("mean", "interval")} for test in TESTS}
            about = {"less": baseline.stream, "demo": settings["demo"]}
            found.append(cell._asdict() | about | facts | {"sources": [path, files[baseline]]})
    return found
