"""The five scores of one SAE, and its explained variance, each eval in a process of its own."""

import hashlib
import json
import shutil
import time
from contextlib import suppress
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
from ...saes.cells import Cell
from . import evals, patches
from .checks import LoggedErrors, check_result, check_sae, check_shared
from .children import check_device_apart, run_child
from .language_model import hooked_transformer
from .names import RECORDED, SCORES
from .recorded import RecordedCalls
from .saes import load_for_saebench
from .settings import Scoring
from .variance import Variance, observe
from .words import in_words
from .workplace import identity, unshared, workplace


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
    """Score the cell that `output` is in; `shared` and `data` are the manifests of these folders."""
    cell, folders = Cell.parse(output), (Path(shared).parent, Path(data).parent)
    subject = Subject(cell.name, cell.folder, read_facts(model_file), *folders, compute.device, compute.threads)
    log.info("%s: %s", cell.words, in_words(score(subject, settings)))


def score(subject: Subject, settings: Scoring) -> dict[str, Any]:
    """Write the cell's scores/*.json; {eval: result}. What a failed start finished is kept in saebench.work."""
    work, sums = subject.folder / "saebench.work", subject.folder / "sae" / "SHA256SUMS"
    with Lease(work) as lease:
        known = identity(settings, subject.facts, subject.data, subject.shared / "manifest.json", sums)
        results = published(subject.folder / "scores", known)
        if results:
            log.info("%s: another process has just written its scores", subject.name)
        else:
            results = _score(work / known, subject, settings, lease)
        _empty(work)
    with suppress(OSError):  # a process that waits for the lease is already in it
        work.rmdir()
    return results


def _score(finished: Path, subject: Subject, settings: Scoring, lease: Lease) -> dict[str, Any]:
    _empty(finished.parent, keep=finished)
    (finished / "origins").mkdir(parents=True, exist_ok=True)
    check_shared(subject.shared)
    check_sae(subject.folder / "sae", load_for_saebench(subject.folder / "sae", subject.facts.name))
    bench = evals.Bench(subject.facts.name, settings.evals, settings.dtype, settings.batch_tokens)
    check_device_apart(finished, subject.name, subject.device)
    set_threads(1)  # a pool of threads does not survive a fork
    missing = [eval_name for eval_name in evals.EVALS if not (finished / f"{eval_name}.json").exists()]
    model = hooked_transformer(subject.facts, bench.dtype, bench.evals.absorption.bos) if missing else None
    failed = []
    for eval_name in missing:
        try:
            _run(eval_name, bench, subject, model, finished)
        except InputError as error:
            log.error("%s", error)
            failed.append(str(error))
    if failed:
        done = len(evals.EVALS) - len(failed)
        raise InputError(f"{len(failed)} of {len(evals.EVALS)} evals failed (the {done} others are kept): {failed[0]}")
    contents = {eval_name: (finished / f"{eval_name}.json").read_bytes() for eval_name in SCORES}
    for eval_name, content in contents.items():
        lease.check()
        write_bytes(subject.folder / "scores" / f"{eval_name}.json", content)
    origins = {eval_name: read_json(finished / "origins" / f"{eval_name}.json") for eval_name in evals.EVALS}
    sums = {eval_name: hashlib.sha256(content).hexdigest() for eval_name, content in contents.items()}
    lease.check()
    # Written last, since it says that the others are whole.
    made_by = {"threads": subject.threads, "evals": origins, "identity": finished.name, "sha256": sums}
    write_json(subject.folder / "scores" / "provenance.json", provenance(subject.device) | made_by)
    return {eval_name: json.loads(content) for eval_name, content in contents.items()}


def published(folder: Path, known: str) -> dict[str, Any] | None:
    """The scores, if all exist unaltered with this identity. Snakemake removes them before each start, so these come
    from a process that this one waited for."""
    files = {eval_name: folder / f"{eval_name}.json" for eval_name in SCORES}
    if not all(file.exists() for file in (*files.values(), folder / "provenance.json")):
        return None
    origin = read_json(folder / "provenance.json")
    if (origin["identity"], origin["sha256"]) != (known, {name: sha256(file) for name, file in files.items()}):
        return None
    return {name: read_json(file) for name, file in files.items()}


def _empty(work: Path, keep: Path | None = None) -> None:
    """Remove what belongs to another SAE or other settings, and what a killed job left. The lease stays."""
    for path in work.iterdir():
        if path.is_dir() and path != keep:
            shutil.rmtree(path)


def _run(eval_name: str, bench: evals.Bench, subject: Subject, model: Any, finished: Path) -> None:
    what, began = f"{subject.name}: {eval_name}", time.monotonic()
    with workplace(finished, subject.data, subject.shared / "artifacts") as folder:
        shared, sae_folder = subject.shared.absolute(), (subject.folder / "sae").absolute()

        def child() -> dict[str, Any]:
            set_threads(subject.threads)
            sae = load_for_saebench(sae_folder, subject.facts.name, subject.device, getattr(torch, bench.dtype))
            found = run_eval(eval_name, bench, subject.name, sae, model, folder, shared, subject.device)
            return found | {"device": device_name(subject.device)}

        output = (finished / f"{eval_name}.txt").absolute()
        found = run_child(folder, output, what, child)
        if (variance := found.pop("variance", None)) is not None:
            write_json(finished / "variance.json", variance)
        if found.get("calls", {}).get("misses"):
            log.info(
                "%s: %s of the language model's activations were read, %s computed", what, *found["calls"].values()
            )
        seconds = round(time.monotonic() - began, 1)
        origin = {"revision": git_revision(), "threads": subject.threads, "seconds": seconds, **found}
        write_json(finished / "origins" / f"{eval_name}.json", origin)
        # SAEBench's own file, byte for byte; written last, since it says that the eval is finished.
        write_bytes(finished / f"{eval_name}.json", (folder / f"{eval_name}.json").read_bytes())


def run_eval(
    eval_name: str, bench: evals.Bench, name: str, sae: Any, model: Any, folder: Path, shared: Path, device: str
) -> dict[str, Any]:
    """Run one eval in its own process and working directory: write {eval_name}.json there; what else is recorded."""
    errors = LoggedErrors()
    patches.apply(model.to(device), folder, shared / "probes")
    calls = shared / f"{eval_name}_calls"
    recorded = RecordedCalls(model, calls, sae.cfg.hook_layer) if eval_name in RECORDED else None
    variance = None
    if eval_name == "core":
        tokenizer = model.tokenizer
        ids = {tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id} - {None}
        variance = Variance(sae.cfg.d_in, ids)
        observe(variance, model, sae)
    path = evals.run(eval_name, bench, name, sae, device)
    result = check_result(eval_name, path, bench.evals, errors.lines)
    if own := [str(file) for file in unshared(folder) if file.parts[0] == eval_name and file.suffix != ".json"]:
        raise InputError(f"SAEBench made {own[0]} again, though all SAEs of {bench.name} share it: remove {shared}")
    shutil.copyfile(path, folder / f"{eval_name}.json")
    found = {"calls": {"hits": recorded.hits, "misses": recorded.misses}} if recorded else {}
    return found | ({"variance": _variances(result, variance)} if variance else {})


def _variances(result: dict[str, Any], variance: Variance) -> dict[str, Any]:
    theirs, ours = result["eval_result_metrics"], variance.result()
    l0 = theirs["sparsity"]["l0"]  # an exact count in either dtype, so it tells whether the tokens were core's
    if abs(ours["l0"] - l0) > 1e-3 * max(1, l0):
        raise InputError(
            f"core's l0 is {l0:.4f}, and {ours['l0']:.4f} on the tokens that were observed: not the same tokens: "
            "install the sae-bench that envs/constraints.txt names (make env)"
        )
    return {
        "saebench": theirs["reconstruction_quality"]["explained_variance"],
        "saebench_legacy": theirs["reconstruction_quality"]["explained_variance_legacy"],
        **ours,
        "text": "core's tokens; BOS, EOS and padding left out",
    }
