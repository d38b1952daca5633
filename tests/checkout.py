"""A folder in which the workflow lies as in a checkout, and Snakemake run in it as a user runs it."""

import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import yaml
from snakemake.utils import update_config

from conftest import MATRYOSHKA, TRAINING, documents, trainer_entry
from maskedsae.experiment.checks import check
from maskedsae.experiment.configuration import Configuration

ROOT = Path(__file__).parents[1]
WORKFLOW = (
    *("Snakefile", "config.yaml", "rules", "scripts", "schemas", "reference", "report"),
    *("profiles", "slurm", "envs"),
)
TOPK = "topk"
TO_SAES = ("model", "tokens", "train")
TO_PROBES = (*TO_SAES, "ood_activations", "oracle", "ood")
TO_ROBUSTNESS = (*TO_SAES, "robustness_activations", "robustness", "mechanism")
TO_SCORES = (*TO_PROBES, "saebench_data", "saebench_model", "saebench", *TO_ROBUSTNESS[3:])
# TINY's random language models cannot spell, and SAEBench's absorption says so: the demo runs it.
WITHOUT_SAEBENCH = ("--omit-from", "saebench_data")


def model_entry(name: str, family: str) -> dict:
    return {
        "name": name,
        "path": f"models/{family}",
        "layer": 1,
        "lm_batch": 4,
        "gflop": 0.0001,
    }


# Two jobs of two SAEs each: 100 steps of 64 activations.
TINY = {
    "run": "tiny",
    "models": [model_entry("neox", "gpt_neox")],
    "streams": [{"name": "clean"}],
    "trainers": [MATRYOSHKA, TOPK],
    "l0": [4, 8],
    "l0_sets": [[4, 8]],
    "seeds": [0],
    "tables": [],
    "corpus": {"dataset": None, "split": None, "filter": None, "files": ["corpus/short.txt", "corpus/long.txt"]},
    "tokens": {"context_length": 32, "heldout_contexts": 8, "repeat": True},
    "training": TRAINING,
    "trainer_settings": {kind: trainer_entry(kind) for kind in (MATRYOSHKA, TOPK)},
    "ood": {
        "rows": 120,
        "train_rows": 80,
        "validation_rows": 20,
        "k": 8,
        "ks": [1, 8],
        "max_iter": 50,
        "bootstrap": 20,
    },
    "robustness": {"contexts": 8, "rows": 128, "k": 8, "parents": ["leading_space"]},
    "saebench": {"data": {"source": "stand-in"}, "scr_and_tpp": {"n_values": [2, 5, 20]}},
    "compute": {"device": "cpu", "threads": 1, "token_threads": 1, "probe_threads": 1, "log_every": 10},
}


class Checkout:
    """A folder in which the workflow lies as in a checkout, with its results."""

    def __init__(self, folder: Path, config: dict | None):
        self.folder, self.config = folder, deepcopy(config)
        self.profile = ["--profile", "profiles/local"]

    def command(self, *arguments: str) -> dict:
        """What to run, and how, as subprocess takes it. The profile is the one that the README names."""
        overlay = []
        if self.config is not None:
            (self.folder / "tiny.yaml").write_text(yaml.safe_dump(self.config))
            overlay = ["--configfile", "tiny.yaml"]  # not last: it would take a target for another file
        cores = [] if "slurm" in self.profile else ["--cores", "2"]
        profile = [*self.profile, *cores, "--nocolor"]
        return {
            "args": [sys.executable, "-m", "snakemake", *overlay, *profile, *arguments],
            "cwd": self.folder,
            "env": {
                name: value for name, value in os.environ.items() if name not in ("SNAKEMAKE_PROFILE", "PYTHONPATH")
            },
            "stderr": subprocess.STDOUT,
        }

    def snakemake(self, *arguments: str) -> str:
        """The whole command's output."""
        result = subprocess.run(**self.command(*arguments), stdout=subprocess.PIPE, text=True, check=False)
        self.status = result.returncode
        return result.stdout

    def start(self, *arguments: str) -> subprocess.Popen:
        """The same, not waited for."""
        return subprocess.Popen(**self.command(*arguments), stdout=subprocess.DEVNULL)

    def copy_to(self, folder: Path) -> "Checkout":
        """Time stamps and Snakemake's own records included."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Checkout(folder, self.config)

    def planned(self, target: str = "grid", rules: tuple[str, ...] = TO_SAES) -> dict[str, str]:
        """{job: reason} of a dry run, of these rules; a job is its log, without folder and ending."""
        output = self.snakemake("--dry-run", target)
        assert self.status == 0, output
        fields = r"^rule (\S+):\n(?:    .*\n)*?    log: results/[^/]+/logs/(.*)\.log\n(?:    .*\n)*?    reason: (.*)$"
        jobs = {job: reason for _, job, reason in re.findall(fields, output, re.MULTILINE)}
        # Snakemake's own count: nothing escaped the pattern above.
        total = re.search(r"^total +(\d+)$", output, re.MULTILINE)
        targets = len(re.findall(rf"^(?:local)?rule {target}:$", output, re.MULTILINE))
        assert len(jobs) == (int(total[1]) - targets if total else 0), output
        assert jobs or "Nothing to be done" in output, output
        return {job: reason for job, reason in jobs.items() if job.split("/")[0] in rules}

    def asked(self, *targets: str) -> list[tuple[str, dict[str, str]]]:
        """(rule, its threads and resources) of each job of a dry run."""
        output = self.snakemake("--dry-run", *targets)
        assert self.status == 0, output
        jobs = []
        for block in re.split(r"\n(?=(?:local)?rule \S+:\n)", output):
            rule, resources = re.match(r"rule (\S+):", block), re.search(r"    resources: (.*)", block)
            if rule and resources:
                threads = re.search(r"    threads: (\d+)", block)
                found = dict(pair.split("=", 1) for pair in resources[1].split(", "))
                jobs.append((rule[1], found | {"threads": threads[1] if threads else "1"}))
        return jobs

    def sources(self) -> list[Path]:
        return [path for name in WORKFLOW for path in [self.folder / name, *(self.folder / name).rglob("*")]]

    def edit(self, name: str, before: str, after: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))

    def append(self, name: str, text: str) -> None:
        with (self.folder / name).open("a") as file:
            file.write(text)


def snakemake_demo(folder: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    """In a copy of the workflow, as `make demo` does it."""
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/demo", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)


def copy_workflow(folder: Path) -> None:
    for name in WORKFLOW:
        if (ROOT / name).is_symlink():
            (folder / name).symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)


def configuration_of(overlay: dict | None = None) -> Configuration:
    """config.yaml with an overlay, as Snakemake puts one over the other, checked."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(config, deepcopy(overlay or {}))
    return check(config)


def demo_config() -> dict:
    """config.yaml with the demo's overlay, as Snakemake puts one over the other."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(config, yaml.safe_load((ROOT / "profiles/demo/demo.yaml").read_text()))
    return config


def copy_data(folder: Path, model_folders: dict[str, Path]) -> None:
    """TINY's language models and its corpus."""
    for family, source in model_folders.items():
        shutil.copytree(source, folder / "models" / family)
    (folder / "corpus").mkdir()
    # A document to hold out, and one above a megabyte, up to which Snakemake compares contents unasked.
    text = "\n".join(documents())
    (folder / "corpus" / "short.txt").write_text(text)
    (folder / "corpus" / "long.txt").write_text(text * (2**20 // len(text) + 1))
