"""The real data sets that sae-probes ships, which need no network."""

import importlib.util
from pathlib import Path

from ..jobs.errors import InputError

# What OOD probing trains and tests on; kept out of the demo's text.
OOD_SETS = (
    "5_hist_fig_ismale",
    "6_hist_fig_isamerican",
    "7_hist_fig_ispolitician",
    "66_living-room",
    "67_social-security",
    "73_control-group",
    "87_glue_cola",
    "90_glue_qnli",
)


def data_folder() -> Path:
    """Where sae-probes keeps its data; found without importing the package, which takes seconds."""
    package = importlib.util.find_spec("sae_probes")
    if package is None or not package.submodule_search_locations:
        raise InputError("sae-probes is not installed: the demo's text and the OOD data sets come with it (see envs/)")
    return Path(package.submodule_search_locations[0]) / "data"
