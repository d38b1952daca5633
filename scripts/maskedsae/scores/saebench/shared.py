"""What all SAEs of a language model share: SAEBench's first-letter probes, activations and class probes.

SAEBench's own evals make it, run once on a placeholder (parts.py). So every file is what SAEBench would have cached,
under the name that it looks for. Making a cache draws random numbers, so scores with a ready cache differ from those of
the run that made it: here every SAE finds its caches ready.
"""

import shutil
from pathlib import Path
from typing import Any

import torch

from ...activations.language_models import read_facts
from ...activations.settings import ModelFacts
from ...jobs.compute import Compute
from ...jobs.device import set_threads
from ...jobs.errors import InputError
from ...jobs.files import read_json, require_space, sha256, write_json
from ...jobs.leases import Lease
from ...jobs.log import log
from ...jobs.typed import plain
from .checks import usable
from .children import check_device_apart, run_child, start_scoring
from .language_model import hooked_transformer
from .names import RECORDED
from .settings import Bench, Sharing
from .sizes import shared_positions
from .workplace import files_of, identity, texts, workplace

PARTS = "parts"  # folder beside what is shared, with a record of each eval's part that is whole


def make_shared(
    manifest: str | Path, model_file: str | Path, settings: Sharing, data_manifest: str | Path, compute: Compute
) -> None:
    """Fill the manifest's folder, and write the manifest last. Finished parts of an earlier start are kept, unless
    something that they depend on has changed."""
    facts = read_facts(model_file)
    asked, data, device, threads = settings.asked, Path(data_manifest).parent, compute.device, compute.threads
    folder = Path(manifest).parent.absolute()  # absolute, since each eval has its own working directory
    bench = Bench(facts.name, settings.placeholder_evals(), settings.dtype, settings.batch_tokens)
    with Lease(folder) as lease:
        (folder / "manifest.json").unlink(missing_ok=True)
        known = {name: identity(settings.of(name), facts, texts(name, bench.evals, data)) for name in asked}
        missing = [name for name in asked if finished_part(folder, name, known[name]) is None]
        remove_unfinished(folder, missing)
        size = shared_positions(bench.evals, asked) * facts.width * getattr(torch, bench.dtype).itemsize
        kept = sum((folder / file).stat().st_size for file in files_of(folder))
        require_space(folder, max(0, size - kept), f"what the SAEs of {facts.name} share for SAEBench")
        set_threads(1)  # a pool of threads, which the first large operation makes, does not survive a fork
        if missing:
            check_device_apart(folder, facts.name, device)
        model = hooked_transformer(facts, bench.dtype) if missing else None
        for name in asked:
            if name not in missing:
                log.info("%s: %s: exists already", facts.name, name)
                continue
            found = share(name, bench, facts, model, folder, data, device, threads)
            lease.check()
            files = part(folder, name)
            sizes = {str(file): (folder / file).stat().st_size for file in files}
            sums = {str(file): sha256(folder / file) for file in files if file.parts[0] == "probes"}
            made = {"identity": known[name], "device": device, "threads": threads, "found": found}
            lease.check()
            write_json(folder / PARTS / f"{name}.json", made | {"files": sizes, "sha256": sums})
        parts = {name: _whole_part(folder, name, known[name]) for name in asked}
        if "absorption" in parts:
            letters = usable(parts["absorption"]["found"], bench.evals)
            log.info("%s: %d letters can be scored for absorption", facts.name, len(letters))
        lease.check()
        write_json(folder / "manifest.json", {"settings": plain(settings), "parts": parts})


def part(folder: Path, eval_name: str) -> list[Path]:
    """The files of one eval that SAEs read. Its output (.txt) has times in it, and is left out."""
    own = Path("artifacts", eval_name)
    calls = {Path(f"{eval_name}_calls.{kind}") for kind in ("bin", "json")}
    probes = {Path("probes")} if eval_name == "absorption" else set()
    return [file for file in files_of(folder) if own in file.parents or file in calls or probes & set(file.parents)]


def finished_part(folder: Path, eval_name: str, known: str) -> dict[str, Any] | None:
    """Its record, if it has this identity and its files still have their sizes."""
    path = folder / PARTS / f"{eval_name}.json"
    if not path.exists():
        return None
    record: dict[str, Any] = read_json(path)
    sizes = {str(file): (folder / file).stat().st_size for file in part(folder, eval_name)}
    return record if (record["identity"], record["files"]) == (known, sizes) else None


def _whole_part(folder: Path, eval_name: str, known: str) -> dict[str, Any]:
    record = finished_part(folder, eval_name, known)
    if record is None:
        raise InputError(f"{folder}: what {eval_name} made was changed in the meantime: run the same command again")
    return record


def remove_unfinished(folder: Path, missing: list[str]) -> None:
    """Also remove working folders of killed jobs. The lease and hidden files belong to processes that wait."""
    for eval_name in missing:
        (folder / PARTS / f"{eval_name}.json").unlink(missing_ok=True)
        for file in (*part(folder, eval_name), Path(f"{eval_name}.txt")):
            (folder / file).unlink(missing_ok=True)
        shutil.rmtree(folder / "artifacts" / eval_name, ignore_errors=True)  # its empty folders
    for path in folder.glob("work-*"):
        shutil.rmtree(path)


def share(
    eval_name: str,
    bench: Bench,
    facts: ModelFacts,
    model: Any,
    folder: Path,
    data: Path,
    device: str,
    threads: int,
) -> dict[str, Any] | None:
    """Make what SAEs share in one eval; for absorption, the F1 of each letter is returned."""
    with workplace(folder, data) as work:

        def child() -> dict[str, Any] | None:
            start_scoring(device, threads)
            from .parts import make_part

            return make_part(eval_name, bench, facts, model, work, folder, device)

        found: dict[str, Any] | None = run_child(work, folder / f"{eval_name}.txt", f"{facts.name}: {eval_name}", child)
        made = work / "artifacts" / eval_name
        if made.is_dir() and eval_name not in RECORDED:
            (folder / "artifacts").mkdir(exist_ok=True)
            shutil.move(made, folder / "artifacts" / eval_name)
        return found
