"""The five scores of one SAE, and its explained variance, each eval in a process of its own."""

import hashlib
import json
import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path

import torch

from ..errors import InputError
from ..files import read_json, sha256, write_bytes, write_json
from ..leases import Lease
from ..models import set_threads
from ..provenance import device_name, git_revision, provenance
from ..saefiles import load_for_saebench
from . import evals, patches
from .checks import Heard, check_result, check_sae, check_shared
from .children import run_child
from .language_model import hooked_transformer
from .names import RECORDED, SCORES
from .recorded import RecordedCalls
from .variance import Centred, Watched
from .workplace import identity, unshared, workplace

log = logging.getLogger("maskedsae")


def score(
    cell: Path, name: str, facts: dict, settings: dict, shared: Path, data: Path, device: str, threads: int
) -> dict[str, dict]:
    """Write `cell`/scores/*.json; {eval: result}. What a failed start had finished is kept in `cell`/saebench.work."""
    work = cell / "saebench.work"
    with Lease(work) as lease:
        known = identity(settings, facts, data, shared / "manifest.json", cell / "sae" / "SHA256SUMS")
        results = published(cell / "scores", known)
        if results:
            log.info("%s: another process has just written its scores", name)
        else:
            results = _score(work / known, cell, name, facts, settings, shared, data, device, threads, lease)
        _empty(work)
    with suppress(OSError):  # a process that waits for the lease is already in it
        work.rmdir()
    return results


def _score(finished: Path, cell, name, facts, settings, shared, data, device, threads, lease) -> dict[str, dict]:
    _empty(finished.parent, but=finished)
    (finished / "origins").mkdir(parents=True, exist_ok=True)
    check_shared(shared)
    check_sae(cell / "sae", load_for_saebench(cell / "sae", facts["name"]))
    bench = evals.Bench(facts["name"], settings["dtype"], settings["batch_tokens"], settings)
    set_threads(1)  # a pool of threads does not survive a fork
    missing = [eval_name for eval_name in evals.EVALS if not (finished / f"{eval_name}.json").exists()]
    model = hooked_transformer(facts, settings["dtype"], settings["absorption"]["bos"]) if missing else None
    failed = []
    for eval_name in missing:
        try:
            _run(eval_name, bench, name, cell, facts, model, shared, data, finished, device, threads)
        except InputError as error:
            log.error("%s", error)
            failed.append(str(error))
    if failed:
        done = len(evals.EVALS) - len(failed)
        raise InputError(f"{len(failed)} of {len(evals.EVALS)} evals failed (the {done} others are kept): {failed[0]}")
    contents = {eval_name: (finished / f"{eval_name}.json").read_bytes() for eval_name in SCORES}
    for eval_name, content in contents.items():
        lease.check()
        write_bytes(cell / "scores" / f"{eval_name}.json", content)
    origins = {eval_name: read_json(finished / "origins" / f"{eval_name}.json") for eval_name in evals.EVALS}
    sums = {eval_name: hashlib.sha256(content).hexdigest() for eval_name, content in contents.items()}
    lease.check()
    # The last, since it says that the others are whole.
    origin = provenance(device) | {"threads": threads, "evals": origins, "identity": finished.name, "sha256": sums}
    write_json(cell / "scores" / "provenance.json", origin)
    return {eval_name: json.loads(content) for eval_name, content in contents.items()}


def published(folder: Path, known: str) -> dict[str, dict] | None:
    """Scores of this identity, if all are there and unaltered: Snakemake removes them before each start, so they are
    those of a process that this one has waited for."""
    files = {eval_name: folder / f"{eval_name}.json" for eval_name in SCORES}
    if not all(file.exists() for file in (*files.values(), folder / "provenance.json")):
        return None
    origin = read_json(folder / "provenance.json")
    if (origin["identity"], origin["sha256"]) != (known, {name: sha256(file) for name, file in files.items()}):
        return None
    return {name: read_json(file) for name, file in files.items()}


def _empty(work: Path, but: Path | None = None) -> None:
    """Of what is of another SAE or other settings, or was left by a job that was killed. The lease stays."""
    for path in work.iterdir():
        if path.is_dir() and path != but:
            shutil.rmtree(path)


def _run(eval_name, bench, name, cell, facts, model, shared, data, finished, device, threads) -> None:
    what, began = f"{name}: {eval_name}", time.monotonic()
    with workplace(finished, data, shared / "artifacts") as folder:
        shared = shared.absolute()
        sae_folder = (cell / "sae").absolute()

        def child() -> dict:
            set_threads(threads)
            sae = load_for_saebench(sae_folder, facts["name"], device, getattr(torch, bench.dtype))
            found = run_eval(eval_name, bench, name, sae, model, folder, shared, device)
            return found | {"device": device_name(device)}

        said = (finished / f"{eval_name}.txt").absolute()
        found = run_child(folder, said, what, child)
        if (variance := found.pop("variance", None)) is not None:
            write_json(finished / "variance.json", variance)
        if found.get("calls", {}).get("misses"):
            log.info(
                "%s: %s of the language model's activations were read, %s computed", what, *found["calls"].values()
            )
        origin = {
            "revision": git_revision(),
            "threads": threads,
            "seconds": round(time.monotonic() - began, 1),
            **found,
        }
        write_json(finished / "origins" / f"{eval_name}.json", origin)
        # SAEBench's own file, byte for byte; the last to be written, since it says that the eval is finished.
        write_bytes(finished / f"{eval_name}.json", (folder / f"{eval_name}.json").read_bytes())


def run_eval(eval_name: str, bench, name: str, sae, model, folder: Path, shared: Path, device: str) -> dict:
    """In a process, and a current folder, of its own: leave {eval_name}.json there; what else there is to know."""
    heard = Heard()
    patches.apply(model.to(device), folder, shared / "probes")
    calls = shared / f"{eval_name}_calls"
    recorded = RecordedCalls(model, calls, sae.cfg.hook_layer) if eval_name in RECORDED else None
    centred = None
    if eval_name == "core":
        tokenizer = model.tokenizer
        ids = {tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id} - {None}
        centred = Centred(sae.cfg.d_in, ids)
        Watched(centred, model, sae)
    path = evals.run(eval_name, bench, name, sae, device)
    result = check_result(eval_name, path, bench.settings, heard.lines)
    if own := [str(file) for file in unshared(folder) if file.parts[0] == eval_name and file.suffix != ".json"]:
        raise InputError(f"SAEBench made {own[0]} anew, though all SAEs of {bench.name} share it: remove {shared}")
    shutil.copyfile(path, folder / f"{eval_name}.json")
    calls = {"calls": {"hits": recorded.hits, "misses": recorded.misses}} if recorded else {}
    return calls | ({"variance": _variances(result, centred)} if centred else {})


def _variances(result: dict, centred: Centred) -> dict:
    theirs, ours = result["eval_result_metrics"], centred.result()
    l0 = theirs["sparsity"]["l0"]  # an exact count in either dtype, so it tells whether the tokens were core's
    if abs(ours["l0"] - l0) > 1e-3 * max(1, l0):
        raise InputError(
            f"core's l0 is {l0:.4f}, and {ours['l0']:.4f} on what was seen of its tokens: not the same ones"
        )
    return {
        "saebench": theirs["reconstruction_quality"]["explained_variance"],
        "saebench_legacy": theirs["reconstruction_quality"]["explained_variance_legacy"],
        **ours,
        "text": "core's tokens; BOS, EOS and padding left out",
    }
