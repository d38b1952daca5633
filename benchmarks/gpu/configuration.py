"""The kit's configuration: config.yaml under gpu.yaml and, on a CPU, small.yaml."""

from pathlib import Path
from typing import Any

import yaml

from maskedsae.experiment.checks import check
from maskedsae.experiment.configuration import Configuration

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def configuration(small: bool) -> Configuration:
    config = _read(ROOT / "config.yaml")
    for overlay in ("gpu.yaml", "small.yaml") if small else ("gpu.yaml",):
        config = merged(config, _read(HERE / overlay))
    return check(config)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def merged(config: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """As Snakemake merges configuration files: mappings are merged, lists replaced whole."""
    both = {key: merged(config[key], value) for key, value in overlay.items() if isinstance(value, dict)}
    return config | overlay | both
