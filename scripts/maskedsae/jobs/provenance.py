"""Where a result came from: the code, the packages and the machine."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .device import device_name

PACKAGES = (
    *("transformers", "dictionary-learning", "tokenizers", "datasets", "numpy", "safetensors"),
    *("sae-bench", "sae-lens", "transformer-lens", "scikit-learn", "sae-probes"),
)


def provenance(device: str) -> dict[str, Any]:
    return {
        "revision": git_revision(),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), "cuda": torch.version.cuda}
        | {package: version(package) for package in PACKAGES},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def git_revision() -> str:
    """The checkout's commit, with "+changes" if files differ from it; "unknown" outside a checkout."""
    folder = Path(__file__).parent
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
