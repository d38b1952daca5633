"""What all SAEs of a language model share: SAEBench's first-letter probes, activations and class probes.

SAEBench's own evals make it, run once on a placeholder: an SAE of a few random latents. So every file is what SAEBench
would have cached, under the name that it looks for. Making a cache draws random numbers, so scores with a ready cache
differ from those of the run that made it: here every SAE finds its caches ready.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from sae_bench.custom_saes.batch_topk_sae import BatchTopKSAE
from sae_bench.evals.absorption.common import load_or_train_probe, load_probe, load_probe_data_split
from sae_bench.evals.absorption.vocab import LETTERS
from sklearn.metrics import f1_score

from ...activations.language_models import read_facts
from ...activations.settings import ModelFacts
from ...jobs.compute import Compute
from ...jobs.device import set_threads
from ...jobs.errors import InputError
from ...jobs.files import read_json, require_space, sha256, write_json
from ...jobs.leases import Lease
from ...jobs.log import log
from ...jobs.typed import plain
from . import evals, patches
from .checks import LoggedErrors, check_result
from .children import check_device_apart, run_child
from .language_model import hooked_transformer
from .names import RECORDED
from .recorded import RecordedCalls
from .settings import Evals, Sharing
from .sizes import shared_positions
from .workplace import files_of, identity, workplace

PLACEHOLDER_LATENTS = 64  # more than any k that is asked for
PARTS = "parts"  # folder beside what is shared, with a record of each eval's part that is whole


def make_shared(
    manifest: str | Path, model_file: str | Path, settings: Sharing, data_manifest: str | Path, compute: Compute
) -> None:
    """Fill the manifest's folder, and write the manifest last. Parts that an earlier start finished are kept."""
    facts = read_facts(model_file)
    data, device, threads = Path(data_manifest).parent, compute.device, compute.threads
    folder = Path(manifest).parent.absolute()  # absolute, since each eval has its own working directory
    with Lease(folder) as lease:
        (folder / "manifest.json").unlink(missing_ok=True)
        known = identity(settings, facts, data)
        missing = [eval_name for eval_name in evals.EVALS if finished_part(folder, eval_name, known) is None]
        remove_unfinished(folder, missing)
        bench = evals.Bench(facts.name, settings.placeholder_evals(), settings.dtype, settings.batch_tokens)
        size = shared_positions(bench.evals) * facts.width * getattr(torch, bench.dtype).itemsize
        kept = sum((folder / file).stat().st_size for file in files_of(folder))
        require_space(folder, max(0, size - kept), f"what the SAEs of {facts.name} share for SAEBench")
        check_device_apart(folder, facts.name, device)
        set_threads(1)  # a pool of threads does not survive a fork
        model = hooked_transformer(facts, bench.dtype, bench.evals.absorption.bos) if missing else None
        for eval_name in evals.EVALS:
            if eval_name not in missing:
                log.info("%s: %s: exists already", facts.name, eval_name)
                continue
            found = share(eval_name, bench, facts, model, folder, data, device, threads)
            sizes = {str(file): (folder / file).stat().st_size for file in part(folder, eval_name)}
            lease.check()
            write_json(folder / PARTS / f"{eval_name}.json", {"identity": known, "found": found, "files": sizes})
        parts = {eval_name: _whole_part(folder, eval_name, known) for eval_name in evals.EVALS}
        letters = parts["absorption"]["found"]
        log.info("%s: %d letters can be scored for absorption", facts.name, len(usable(letters, bench.evals)))
        files = {file: size for known_part in parts.values() for file, size in known_part["files"].items()}
        sums = {file: sha256(folder / file) for file in files if file.startswith("probes/")}
        data_sum = sha256(data / "manifest.json")
        lease.check()
        contents = {"letters": letters, "settings": plain(settings), "data": data_sum, "files": files, "sha256": sums}
        write_json(folder / "manifest.json", contents)


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
    bench: evals.Bench,
    facts: ModelFacts,
    model: Any,
    folder: Path,
    data: Path,
    device: str,
    threads: int,
) -> dict[str, Any] | None:
    """Make what SAEs share in one eval; for absorption, the F1 of each letter is returned."""
    with workplace(folder, data) as work:

        def make() -> dict[str, Any] | None:
            set_threads(threads)
            return _make(eval_name, bench, facts, model, work, folder, device)

        found: dict[str, Any] | None = run_child(work, folder / f"{eval_name}.txt", f"{facts.name}: {eval_name}", make)
        made = work / "artifacts" / eval_name
        if made.is_dir() and eval_name not in RECORDED:
            (folder / "artifacts").mkdir(exist_ok=True)
            shutil.move(made, folder / "artifacts" / eval_name)
        return found


def _make(
    eval_name: str, bench: evals.Bench, facts: ModelFacts, model: Any, work: Path, folder: Path, device: str
) -> dict[str, Any] | None:
    """Runs in a child process. For absorption the probes are made first: the eval then draws its words with the probes
    ready, as it does for every SAE."""
    errors = LoggedErrors()
    patches.apply(model.to(device), work, folder / "probes")
    sae = placeholder_sae(facts.name, facts.width, facts.layer, bench.dtype, device)
    letters = None
    if eval_name == "absorption":
        letters = _letters(bench, facts, model, folder, device)
    calls = folder / f"{eval_name}_calls"
    recorded = RecordedCalls(model, calls, facts.layer, record=True) if eval_name in RECORDED else None
    path = evals.run(eval_name, bench, "placeholder", sae, device)
    if recorded:
        recorded.close()
    check_result(eval_name, path, bench.evals, errors.lines)
    return letters


def _letters(bench: evals.Bench, facts: ModelFacts, model: Any, folder: Path, device: str) -> dict[str, float]:
    """Train SAEBench's first-letter probes, and check them as absorption will."""
    absorption = bench.evals.absorption
    evals.seed_all(bench.evals.seed)
    try:
        load_or_train_probe(
            model,
            base_template=absorption.prompt_template,
            pos_idx=absorption.prompt_token_pos,
            layer=facts.layer,
            probes_dir=folder / "probes",
            device=device,
        )
        found = f1_of_letters(model, facts, folder)
    except (ValueError, IndexError) as error:
        raise InputError(
            f"SAEBench's first-letter probes cannot be made ({error}): the tokenizer of {facts.name} may have too "
            "few words for some letter: choose a model with a larger vocabulary"
        ) from error
    good, needed = usable(found, bench.evals), absorption.min_feats_for_eval
    if len(good) < needed:
        raise InputError(
            f"the language model {facts.name} spells only {len(good)} first letters with F1 over "
            f"{absorption.min_GT_probe_f1} at layer {facts.layer} ({', '.join(good) or 'none'}), and absorption "
            f"needs {needed}: choose a larger model or another layer, or lower saebench.absorption.min_feats_for_eval"
        )
    return found


def f1_of_letters(model: Any, facts: ModelFacts, folder: Path) -> dict[str, float]:
    """As SAEBench's absorption computes it: a probe's score above 0 counts as the letter, on the test words."""
    place = {"layer": facts.layer, "probes_dir": folder / "probes", "dtype": torch.float32, "device": "cpu"}
    probe = load_probe(facts.name, **place)
    activations, words = load_probe_data_split(model, split="test", **place)
    truth = torch.tensor([label for _, label in words])
    with torch.no_grad():
        scores = probe(activations)
    return {
        letter: float(f1_score(truth == number, scores[:, number] > 0, zero_division=0))
        for number, letter in enumerate(LETTERS)
    }


def usable(letters: dict[str, float], evals: Evals) -> list[str]:
    return [letter for letter, f1 in letters.items() if f1 > evals.absorption.min_GT_probe_f1]


def placeholder_sae(name: str, width: int, layer: int, dtype: str, device: str) -> BatchTopKSAE:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(PLACEHOLDER_LATENTS, width, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    kind = getattr(torch, dtype)
    sae = BatchTopKSAE(width, PLACEHOLDER_LATENTS, 8, name, layer, device=torch.device("cpu"), dtype=kind)
    state = {"W_enc": directions.T.contiguous(), "W_dec": directions, "threshold": torch.tensor(0.0)}
    sae.load_state_dict(sae.state_dict() | state)
    sae.cfg.architecture = "batch_topk"
    return sae.to(device=torch.device(device), dtype=kind)
