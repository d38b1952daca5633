"""The scores of one SAE by the evals that are asked for, each in a process of its own.

What an eval gave is kept in the cell's folder `saebench`, with a hash of what it depends on: when a setting of one eval
changes, only that one runs again.
"""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...activations.language_models import read_facts
from ...activations.settings import ModelFacts
from ...jobs.compute import Compute
from ...jobs.device import device_name, set_threads
from ...jobs.errors import InputError
from ...jobs.files import read_json, sha256, write_bytes, write_json
from ...jobs.leases import Lease
from ...jobs.log import log
from ...jobs.provenance import git_revision, provenance
from ...saes.cells import sae_of
from .checks import check_sae, check_shared
from .children import check_device_apart, run_child, start_scoring
from .language_model import hooked_transformer
from .names import GIVES, SCORES
from .saes import load_for_saebench
from .settings import Bench, Scoring
from .words import in_words
from .workplace import identity, texts, workplace


@dataclass(frozen=True)
class Subject:
    """An SAE to be scored, and what it is scored with."""

    name: str  # for SAEBench
    folder: Path  # of the cell
    facts: ModelFacts
    shared: Path  # what the SAEs of its model share
    data: Path
    device: str
    threads: int


def score_cell(
    output: str | Path,
    model_file: str | Path,
    settings: Scoring,
    shared: str | Path,
    data: str | Path,
    compute: Compute,
) -> None:
    """Score the SAE that `output` is of; `shared` and `data` are the manifests of these folders."""
    sae, folders = sae_of(output), (Path(shared).parent, Path(data).parent)
    subject = Subject(sae.name, sae.folder, read_facts(model_file), *folders, compute.device, compute.threads)
    log.info("%s: %s", sae.words, in_words(score(subject, settings)))


def score(subject: Subject, settings: Scoring) -> dict[str, Any]:
    """Write the cell's scores/*.json; {score: its content}."""
    kept = subject.folder / "saebench"
    with Lease(kept) as lease:
        for left_over in kept.glob("work-*"):  # by a killed job
            shutil.rmtree(left_over)
        check_shared(subject.shared, settings.asked)
        known = identities(subject, settings)
        missing = []
        for name in settings.asked:
            if record := finished(kept / name, known[name]):
                what, where = f"{subject.name}: {name}", record["device"]
                log.info("%s: kept, since nothing that it depends on has changed (from %s)", what, where)
            else:
                missing.append(name)
        if missing:
            _run_all(missing, subject, settings, known, lease)
        records = {name: finished(kept / name, known[name]) for name in settings.asked}
        return _publish(subject, records, lease)


def identities(subject: Subject, settings: Scoring) -> dict[str, str]:
    """Of each eval: what decides its result."""
    parts = read_json(subject.shared / "manifest.json")["parts"]
    sums = (subject.folder / "sae" / "SHA256SUMS").read_text()
    return {
        name: identity(settings.of(name), subject.facts, texts(name, settings.evals, subject.data), parts[name], sums)
        for name in settings.asked
    }


def finished(folder: Path, known: str) -> dict[str, Any] | None:
    """The record of an eval that ran, if it has this identity and its results are unaltered."""
    if not (folder / "record.json").exists():
        return None
    record = read_json(folder / "record.json")
    files = {name: folder / f"{name}.json" for name in GIVES[folder.name]}
    sums = {name: sha256(file) for name, file in files.items() if file.exists()}
    return record if (record["identity"], record["sha256"]) == (known, sums) else None


def _run_all(missing: list[str], subject: Subject, settings: Scoring, known: dict[str, str], lease: Lease) -> None:
    kept = subject.folder / "saebench"
    set_threads(1)  # a pool of threads, which the first large operation makes, does not survive a fork
    check_sae(subject.folder / "sae", load_for_saebench(subject.folder / "sae", subject.facts.name))
    bench = Bench(subject.facts.name, settings.evals, settings.dtype, settings.batch_tokens)
    check_device_apart(kept, subject.name, subject.device)
    model = hooked_transformer(subject.facts, bench.dtype)
    failed = []
    for name in missing:
        lease.check()
        shutil.rmtree(kept / name, ignore_errors=True)
        try:
            _run(name, bench, subject, model, kept / name, known[name], lease)
        except InputError as error:
            log.error("%s", error)
            failed.append(str(error))
    if failed:
        asked = len(settings.asked)
        done = asked - len(failed)
        raise InputError(f"{len(failed)} of {asked} evals failed (the {done} others are kept): {failed[0]}")


def _run(eval_name: str, bench: Bench, subject: Subject, model: Any, kept: Path, known: str, lease: Lease) -> None:
    what, began = f"{subject.name}: {eval_name}", time.monotonic()
    kept.mkdir()
    with workplace(kept.parent, subject.data, subject.shared / "artifacts") as folder:
        shared, sae_folder = subject.shared.absolute(), (subject.folder / "sae").absolute()

        def child() -> dict[str, Any]:
            start_scoring(subject.device, subject.threads)
            from .evals import score_sae

            sae = load_for_saebench(sae_folder, subject.facts.name, subject.device, getattr(torch, bench.dtype))
            found = score_sae(eval_name, bench, subject.name, sae, model, folder, shared, subject.device)
            return found | {"device": device_name(subject.device)}

        found = run_child(folder, (kept / "output.txt").absolute(), what, child)
        if found.get("calls", {}).get("misses"):
            log.info(
                "%s: %s of the language model's activations were read, %s computed", what, *found["calls"].values()
            )
        sums = {}
        for name in GIVES[eval_name]:  # SAEBench's own file, byte for byte
            lease.check()
            write_bytes(kept / f"{name}.json", (folder / f"{name}.json").read_bytes())
            sums[name] = sha256(kept / f"{name}.json")
        seconds = round(time.monotonic() - began, 1)
        made_by = {"revision": git_revision(), "threads": subject.threads, "seconds": seconds, **found}
        lease.check()
        # Written last, since it says that the eval is finished.
        write_json(kept / "record.json", {"identity": known, "sha256": sums} | made_by)


def _publish(subject: Subject, records: dict[str, Any], lease: Lease) -> dict[str, Any]:
    """From the cell's saebench/ to its scores/, which Snakemake removes before each start."""
    results: dict[str, Any] = {}
    sums: dict[str, str] = {}
    l0: dict[str, float] = {}
    for eval_name, record in records.items():
        for name in record["sha256"]:
            content = (subject.folder / "saebench" / eval_name / f"{name}.json").read_bytes()
            if name == "l0":
                counted = json.loads(content)
                l0 |= {eval_name: counted["l0"], f"{eval_name}_tokens": counted["tokens"]}
                continue
            lease.check()
            write_bytes(subject.folder / "scores" / f"{name}.json", content)
            results[name], sums[name] = json.loads(content), record["sha256"][name]
    for name in SCORES:
        if name not in results:  # of an eval that was asked for once, and perhaps of an earlier SAE
            (subject.folder / "scores" / f"{name}.json").unlink(missing_ok=True)
    lease.check()
    write_json(subject.folder / "scores/l0.json", l0)
    results["l0"], sums["l0"] = l0, sha256(subject.folder / "scores/l0.json")
    lease.check()
    made_by = {
        "device": ", ".join(dict.fromkeys(record["device"] for record in records.values())),
        "evals": records,
        "sha256": {name: sums[name] for name in SCORES if name in sums},
    }
    origin = provenance("cpu")  # this process must not ask for the GPU's name
    del origin["threads"]  # each eval's record has its own
    # Written last, since it says that the others are whole.
    write_json(subject.folder / "scores" / "provenance.json", origin | made_by)
    return results
