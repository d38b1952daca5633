"""What all SAEs of a language model share: SAEBench's first-letter probes, activations and class probes.

Made by SAEBench's own evals, run once on a stand-in SAE of a few latents: so every file is what SAEBench would have
cached, under the name by which it finds it again. Scores with caches it makes itself differ from scores with ready
ones, since making them draws random numbers: with these, every SAE finds them ready.
"""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from sae_bench.custom_saes.batch_topk_sae import BatchTopKSAE
from sae_bench.evals.absorption.common import load_or_train_probe, load_probe, load_probe_data_split
from sae_bench.evals.absorption.vocab import LETTERS
from sklearn.metrics import f1_score

from ..errors import InputError
from ..files import read_json, require_space, sha256, write_json
from ..leases import Lease
from ..models import set_threads
from . import evals, patches
from .checks import Heard, check_result
from .children import run_child
from .language_model import hooked_transformer
from .names import RECORDED
from .recorded import RecordedCalls
from .sizes import shared_positions
from .workplace import files_of, identity, workplace

log = logging.getLogger("maskedsae")

STAND_IN_LATENTS = 64  # more than any k that is asked for
PARTS = "parts"  # beside what is shared: a record of each eval's part, once it is whole


def make_shared(folder: Path, facts: dict, settings: dict, data: Path, device: str, threads: int) -> None:
    """Fill `folder` and write its manifest.json. Parts that an earlier start had finished are kept."""
    folder = folder.absolute()  # each eval has a current folder of its own
    with Lease(folder) as lease:
        (folder / "manifest.json").unlink(missing_ok=True)
        known = identity(settings, facts, data)
        missing = [eval_name for eval_name in evals.EVALS if finished_part(folder, eval_name, known) is None]
        remove_unfinished(folder, missing)
        size = shared_positions(settings) * facts["width"] * getattr(torch, settings["dtype"]).itemsize
        kept = sum((folder / file).stat().st_size for file in files_of(folder))
        require_space(folder, max(0, size - kept), f"what the SAEs of {facts['name']} share for SAEBench")
        bench = evals.Bench(facts["name"], settings["dtype"], settings["batch_tokens"], settings)
        set_threads(1)  # a pool of threads does not survive a fork
        model = hooked_transformer(facts, settings["dtype"], settings["absorption"]["bos"]) if missing else None
        for eval_name in evals.EVALS:
            if eval_name not in missing:
                log.info("%s: %s: is here from before", facts["name"], eval_name)
                continue
            found = share(eval_name, bench, facts, model, folder, data, device, threads)
            sizes = {str(file): (folder / file).stat().st_size for file in part(folder, eval_name)}
            lease.check()
            write_json(folder / PARTS / f"{eval_name}.json", {"identity": known, "found": found, "files": sizes})
        parts = {eval_name: finished_part(folder, eval_name, known) for eval_name in evals.EVALS}
        letters = parts["absorption"]["found"]
        log.info("%s: %d letters can be scored for absorption", facts["name"], len(usable(letters, settings)))
        files = {file: size for known_part in parts.values() for file, size in known_part["files"].items()}
        sums = {file: sha256(folder / file) for file in files if file.startswith("probes/")}
        of_data = sha256(data / "manifest.json")
        lease.check()
        manifest = {"letters": letters, "settings": settings, "data": of_data, "files": files, "sha256": sums}
        write_json(folder / "manifest.json", manifest)


def part(folder: Path, eval_name: str) -> list[Path]:
    """What SAEs read of one eval's run; what the eval said (its .txt) has times in it, and is left out."""
    own = Path("artifacts", eval_name)
    calls = {Path(f"{eval_name}_calls.{kind}") for kind in ("bin", "json")}
    probes = {Path("probes")} if eval_name == "absorption" else set()
    return [file for file in files_of(folder) if own in file.parents or file in calls or probes & set(file.parents)]


def finished_part(folder: Path, eval_name: str, known: str) -> dict | None:
    """Its record, if it is of this identity and its files are as they were."""
    path = folder / PARTS / f"{eval_name}.json"
    if not path.exists():
        return None
    record = read_json(path)
    sizes = {str(file): (folder / file).stat().st_size for file in part(folder, eval_name)}
    return record if (record["identity"], record["files"]) == (known, sizes) else None


def remove_unfinished(folder: Path, missing: list[str]) -> None:
    """Also working folders of jobs that were killed. Names with a dot, and the lease, are the processes' that wait."""
    for eval_name in missing:
        (folder / PARTS / f"{eval_name}.json").unlink(missing_ok=True)
        for file in (*part(folder, eval_name), f"{eval_name}.txt"):
            (folder / file).unlink(missing_ok=True)
        shutil.rmtree(folder / "artifacts" / eval_name, ignore_errors=True)  # its empty folders
    for path in folder.glob("work-*"):
        shutil.rmtree(path)


def share(eval_name, bench, facts, model, folder: Path, data: Path, device: str, threads: int) -> dict | None:
    """What one eval's SAEs share; of absorption also each letter's F1."""
    with workplace(folder, data) as work:

        def make() -> dict | None:
            set_threads(threads)
            return _make(eval_name, bench, facts, model, work, folder, device)

        found = run_child(work, folder / f"{eval_name}.txt", f"{facts['name']}: {eval_name}", make)
        made = work / "artifacts" / eval_name
        if made.is_dir() and eval_name not in RECORDED:
            (folder / "artifacts").mkdir(exist_ok=True)
            shutil.move(made, folder / "artifacts" / eval_name)
        return found


def _make(eval_name: str, bench, facts: dict, model, work: Path, folder: Path, device: str) -> dict | None:
    """In a child. Absorption runs twice: the words that it asks the language model about are drawn once the probes are
    there, as they will be for every SAE."""
    heard, settings = Heard(), of_stand_in(bench.settings)
    bench = replace(bench, settings=settings)
    patches.apply(model.to(device), work, folder / "probes")
    sae = stand_in(facts, bench.dtype, device)
    letters = None
    if eval_name == "absorption":
        letters = _letters(bench, facts, model, folder, device)
    calls = folder / f"{eval_name}_calls"
    recorded = RecordedCalls(model, calls, facts["layer"], record=True) if eval_name in RECORDED else None
    path = evals.run(eval_name, bench, "stand-in", sae, device)
    if recorded:
        recorded.close()
    check_result(eval_name, path, settings, heard.lines)
    return letters


def of_stand_in(settings: dict) -> dict:
    """Little work where it is the SAE's; none of it draws from what the words or the probes are drawn from."""
    little = {
        "absorption": {"max_k_value": 1, "k_sparse_probe_num_epochs": 1, "precalc_k_sparse_probe_sae_acts": True},
        "scr_and_tpp": {"n_values": [2]},
    }
    return settings | {name: settings[name] | values for name, values in little.items()}


def _letters(bench, facts: dict, model, folder: Path, device: str) -> dict:
    """Train SAEBench's first-letter probes, and check them as absorption will."""
    absorption = bench.settings["absorption"]
    evals.seed_all(bench.settings["seed"])
    try:
        load_or_train_probe(
            model,
            base_template=absorption["prompt_template"],
            pos_idx=absorption["prompt_token_pos"],
            layer=facts["layer"],
            probes_dir=folder / "probes",
            device=device,
        )
        found = f1_of_letters(model, facts, folder)
    except (ValueError, IndexError) as error:
        raise InputError(
            f"SAEBench's first-letter probes cannot be made ({error}): the tokenizer of {facts['name']} may have too "
            "few words for some letter"
        ) from error
    good, needed = usable(found, bench.settings), absorption["min_feats_for_eval"]
    if len(good) < needed:
        raise InputError(
            f"the language model {facts['name']} spells only {len(good)} first letters with F1 over "
            f"{absorption['min_GT_probe_f1']} at layer {facts['layer']} ({', '.join(good) or 'none'}), and absorption "
            f"needs {needed}: choose a larger model or another layer, or lower saebench.absorption.min_feats_for_eval"
        )
    return found


def f1_of_letters(model, facts: dict, folder: Path) -> dict[str, float]:
    """As SAEBench's absorption takes it: of the probe's scores above 0, on the test words."""
    place = {"layer": facts["layer"], "probes_dir": folder / "probes", "dtype": torch.float32, "device": "cpu"}
    probe = load_probe(facts["name"], **place)
    activations, words = load_probe_data_split(model, split="test", **place)
    truth = torch.tensor([label for _, label in words])
    with torch.no_grad():
        scores = probe(activations)
    return {
        letter: float(f1_score(truth == number, scores[:, number] > 0, zero_division=0))
        for number, letter in enumerate(LETTERS)
    }


def usable(letters: dict[str, float], settings: dict) -> list[str]:
    return [letter for letter, f1 in letters.items() if f1 > settings["absorption"]["min_GT_probe_f1"]]


def stand_in(facts: dict, dtype: str, device: str) -> BatchTopKSAE:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(STAND_IN_LATENTS, facts["width"], generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    kind = getattr(torch, dtype)
    sae = BatchTopKSAE(
        facts["width"], STAND_IN_LATENTS, 8, facts["name"], facts["layer"], device=torch.device("cpu"), dtype=kind
    )
    state = {"W_enc": directions.T.contiguous(), "W_dec": directions, "threshold": torch.tensor(0.0)}
    sae.load_state_dict(sae.state_dict() | state)
    sae.cfg.architecture = "batch_topk"
    return sae.to(device=torch.device(device), dtype=kind)
