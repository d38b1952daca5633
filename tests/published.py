"""A finished run with real SAEs, one for each kind of trainer, as rules model_card and publish find it."""

import json
import shutil
from pathlib import Path

from checkout import TINY, model_entry
from conftest import MASK30, trainer_entry
from hub import OWNER
from maskedsae.saes.cells import Cell
from scored import probes, write_cell

REPOSITORY = f"{OWNER}/tiny-saes"


def config_of(kinds: list[str], **publish) -> dict:
    """An overlay on config.yaml."""
    return TINY | {
        "models": [model_entry("tiny", "gpt_neox")],
        "streams": [{"name": "clean"}, MASK30],
        "trainers": kinds,
        "trainer_settings": {kind: trainer_entry(kind) for kind in kinds},
        "l0": [8],
        "l0_sets": [],
        "tables": [{"name": "table1", "model": "tiny", "streams": ["mask30"], "l0": None}],
        "publish": {"repository": REPOSITORY, "license": "mit"} | publish,
    }


def write_finished(folder: Path, cells: dict[str, Path]) -> list[str]:
    """`cells`: the fixture. Scores are made up. The SAEs' folders in the repository."""
    for kind, trained in cells.items():
        cell = folder / Cell("tiny", "tiny", "mask30", kind, 8, 0).folder
        write_cell(cell, absorption=0.125)
        shutil.copytree(trained / "sae", cell / "sae", dirs_exist_ok=True)
        shutil.copy(trained / "training.csv", cell)
    (folder / "results/tiny/tiny/oracle.json").write_text(json.dumps(probes(0.8, ks=(96,))))
    return [f"tiny/mask30/{kind}/l0_8/seed_0" for kind in cells]
