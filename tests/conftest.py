"""Tiny real models and tokens, made once a session, and CI's rule that a skipped test is a failure."""

import json
import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics

os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's client is imported, which reads it once; no test needs the hub

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedTokenizerFast,
)

from cluster import Cluster, processes_below
from maskedsae.activations.language_models import describe, tokenizer_of
from maskedsae.activations.settings import ModelFacts, ModelSettings
from maskedsae.jobs.compute import Compute, StepMs, Tflops
from maskedsae.jobs.gpus import LOCKS
from maskedsae.jobs.leases import Lease
from maskedsae.jobs.typed import read
from maskedsae.saes.cells import Cell
from maskedsae.saes.settings import TrainJobSettings
from maskedsae.saes.trainers.base import known_kinds
from maskedsae.saes.training import train_cells
from maskedsae.text.packing import write_tokens
from maskedsae.text.settings import Corpus, TokenSettings

ROOT = Path(__file__).parents[1]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WITHOUT_DOCS = "" if find_spec("mkdocs") and find_spec("nbclient") else "make site installs what it needs"
needs_docs = pytest.mark.skipif(bool(WITHOUT_DOCS), reason=WITHOUT_DOCS)
FAMILIES = ("gpt_neox", "gemma2")
LAYER = 1


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where a skip is a failure: {report.longrepr}"


def pytest_report_header(config) -> list[str]:
    """What to expect of the whole of it."""
    tools = {"tests/slurm": Cluster.missing(), "the page in a browser": "" if BROWSER else "no browser (chromium)"}
    tools["a Slurm with accounting"] = Cluster.missing(accounting=True)
    tools["LaTeX tables"] = "" if shutil.which("pdflatex") else "no pdflatex"
    tools["the site and the notebook"] = WITHOUT_DOCS
    skipped = [f"{what} ({why})" for what, why in tools.items() if why]
    return [
        "all tests take about 45 minutes on two cores; the longest are tests/demo and tests/slurm",
        f"skipped on this machine: {'; '.join(skipped) or 'nothing'}",
    ]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One worker runs in turn all tests of a file, and all that share the demo or a cluster."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return next((folder for folder in ("tests/demo", "tests/slurm") if file.startswith(folder)), file)

    return ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory):
    """Nothing that a test has started may go on once all are done."""
    yield
    found = processes_below(tmp_path_factory.getbasetemp()) if Path("/proc").is_dir() else []
    commands = [Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ") for process in found]
    for process in found:
        os.kill(process, signal.SIGKILL)
    assert not commands, f"left behind, and now killed: {commands}"


def documents() -> list[str]:
    """Real English that ships with Python: paragraphs of its language reference."""
    return [paragraph for topic in sorted(topics)[:80] for paragraph in topics[topic].split("\n\n")]


def make_tokenizer(family: str) -> PreTrainedTokenizerFast:
    special = ["<|endoftext|>"] if family == "gpt_neox" else ["<pad>", "<eos>", "<bos>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*documents(), *["wait ... what... so..."] * 1000], trainer)
    if family == "gpt_neox":
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[0])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")


def make_model(family: str, vocabulary: int, **changes: int):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
    } | changes
    if family == "gpt_neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, bos_token_id=0, eos_token_id=0))
    return Gemma2ForCausalLM(
        Gemma2Config(**sizes, head_dim=8, num_key_value_heads=2, sliding_window=16, query_pre_attn_scalar=8)
    )


CHECKED = "lease checked"


@pytest.fixture
def writes(monkeypatch) -> list[Path | str]:
    """The files that take their place from here on, and the checks of leases, in their order."""
    events, check, replace_file = [], Lease.check, os.replace

    def checking(lease):
        events.append(CHECKED)
        check(lease)

    def replacing(temporary, path):
        events.append(Path(path))
        replace_file(temporary, path)

    monkeypatch.setattr(Lease, "check", checking)
    monkeypatch.setattr(os, "replace", replacing)
    return events


def unchecked(writes: list[Path | str]) -> list[str]:
    """The names of files before which no lease was checked."""
    pairs = zip([None, *writes], writes, strict=False)
    return [event.name for before, event in pairs if event != CHECKED and before != CHECKED]


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory) -> dict[str, Path]:
    folders = {}
    for family in FAMILIES:
        folders[family] = tmp_path_factory.mktemp(family)
        tokenizer = make_tokenizer(family)
        tokenizer.save_pretrained(folders[family])
        make_model(family, len(tokenizer)).save_pretrained(folders[family])
    return folders


def model_settings(family: str, folder: Path | str, **changes) -> ModelSettings:
    given = {
        "name": f"tiny-{family}",
        "hub": None,
        "path": str(folder),
        "revision": None,
        "layer": LAYER,
        "bos": None,
        "mask": "...",
        "context_length": 32,
    }
    return ModelSettings(**given | changes)


@pytest.fixture(scope="session")
def facts(model_folders) -> dict[str, ModelFacts]:
    """`model.json` of each family."""
    return {family: describe(model_settings(family, folder)) for family, folder in model_folders.items()}


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents()))
    return path


def token_settings(files: list[Path] | Path, **changes) -> TokenSettings:
    files = files if isinstance(files, list) else [files]
    given = {
        "corpus": Corpus(files=tuple(map(str, files))),
        "context_length": 32,
        "train_contexts": 400,
        "heldout_contexts": 20,
        "separator": "eos",
        "repeat": False,
        "drop_bos": False,
    }
    return TokenSettings(**given | changes)


@pytest.fixture(scope="session")
def tokens_folders(facts, corpus_file, tmp_path_factory) -> dict[str, Path]:
    made = {}
    for family, known in facts.items():
        made[family] = tmp_path_factory.mktemp(f"tokens_{family}")
        write_tokens(made[family], tokenizer_of(known), token_settings(corpus_file), known.bos)
    return made


MATRYOSHKA = "matryoshka_batch_topk"


# Kinds whose nominal l0 is another penalty, and what that is called.
BY_PENALTY = {"standard": "l1_penalty", "gated": "l1_penalty", "p_anneal": "initial_sparsity_penalty"}
BY_PENALTY |= {"masked_penalty": "l1_penalty", "adaptive_gate": "l1_penalty"}
OWN_SETTINGS = {
    "standard": {"sparsity_warmup_steps": 20},
    "gated": {"sparsity_warmup_steps": 20},
    "masked_penalty": {"norm_penalty": 5e-4, "dormant_below": 0.5, "mask_every": 10},  # 0.99^70 = 0.5
    "adaptive_gate": {"entropy_penalty": 1e-4},
    "p_anneal": {
        "sparsity_warmup_steps": 20,
        **{"sparsity_function": "Lp^p", "p_end": 0.2, "anneal_start": 30},
        **{"n_sparsity_updates": 10, "sparsity_queue_length": 5},
    },
}


def trainer_entry(kind: str = MATRYOSHKA) -> dict:
    """An entry of trainer_settings, for 100 steps."""
    own = {"lr": 3e-3, "warmup_steps": 10, "decay_start": 0.8, "dead_after_tokens": 1000}
    if kind == "jumprelu":
        return own | {"bandwidth": 0.001, "sparsity_penalty": 1.0, "sparsity_warmup_steps": 20}
    if kind in BY_PENALTY:
        penalties = {4: 0.08, 8: 0.04, 16: 0.02}
        return own | {BY_PENALTY[kind]: penalties} | OWN_SETTINGS[kind]
    own |= {"auxk_alpha": 0.03125, "threshold_beta": 0.9, "threshold_start_step": 10}
    return own | ({"group_fractions": [0.25, 0.25, 0.5]} if kind == MATRYOSHKA else {})


# 100 steps of 64 activations in blocks of 10 contexts (5 batches).
TRAINING = {
    "tokens": 6400,
    "batch": 64,
    "dict_size": 64,
    "shuffle_tokens": 320,
    "normalise": True,
    "norm_batches": 11,
    "autocast": "float32",
    "drop_bos": False,
    "max_norm_multiple": None,
    "step": "stock",
}
MASK30 = {"name": "mask30", "p": 0.3}


def train_settings(*kinds: str, stream: dict = MASK30, contexts: int = 400, **training) -> TrainJobSettings:
    """As `experiment.settings.train_settings` makes them, small."""
    kinds = kinds or (MATRYOSHKA,)
    size = (TRAINING | training)["dict_size"]
    trainers = {
        kind: {"name": kind, "kind": kind, "dict_size": size, "settings": trainer_entry(kind)} for kind in kinds
    }
    given = {
        "model": {"name": "tiny", "layer": LAYER, "dtype": "float32", "lm_batch": 4, "tf32": False},
        "stream": stream,
        "stream_seed": 0,
        "contexts": contexts,
        "trainers": trainers,
        "training": TRAINING | training,
        "code": {kind: {} for kind in kinds},
    }
    return read(TrainJobSettings, given)


COMPUTE = Compute(
    device="cpu",
    threads=1,
    token_threads=1,
    probe_threads=1,
    checkpoint_minutes=60,
    log_every=10,
    job_gigabytes=128,
    job_hours=24,
    tflops=Tflops(10, 60, 125),
    step_ms=StepMs(10, 5),
    fetch_here=False,
)


def a_cell(l0: int = 8, trainer: str = MATRYOSHKA, seed: int = 0, stream: str = "mask30") -> Cell:
    return Cell("tiny", "tiny", stream, trainer, l0, seed)


def folders(root: Path, *l0s: int, trainer: str = MATRYOSHKA, seed: int = 0) -> dict[Cell, Path]:
    """{cell: its folder in `root`}"""
    return {a_cell(l0, trainer, seed): root / f"l0_{l0}" for l0 in l0s}


@pytest.fixture(scope="session")
def cells(facts, tokens_folders, tmp_path_factory) -> dict[str, Path]:
    """One trained SAE for each kind of trainer: {kind: the cell's folder}."""
    made = {}
    for kind in known_kinds():
        made[kind] = tmp_path_factory.mktemp(kind) / "l0_8"
        manifest = tokens_folders["gpt_neox"] / "manifest.json"
        train_cells({a_cell(8, kind): made[kind]}, train_settings(kind), facts["gpt_neox"], manifest, COMPUTE)
    return made


def stand_in_gpus(folder: Path, count: int) -> list[str]:
    """An nvidia-smi in `folder` that lists so many GPUs. They are new each time, so their locks are a test's own."""
    uuids = [f"GPU-{uuid.uuid4()}" for _ in range(count)]
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo {name}\n" for name in uuids))
    program.chmod(0o755)
    return uuids


def remove_locks(uuids: list[str]) -> None:
    for name in uuids:
        (LOCKS / f"maskedsae-{name}.lock").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A real Slurm with one node."""
    with running_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@contextmanager
def running_cluster(folder: Path, accounting: bool = False) -> Iterator[Cluster]:
    if why := Cluster.missing(accounting):
        pytest.skip(why)
    cluster = Cluster(folder, accounting)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.conf))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """The demo, run once as `make demo` runs it, in a fresh copy."""
    from checkout import copy_workflow, snakemake_demo  # which imports from here

    folder = tmp_path_factory.mktemp("demo")
    copy_workflow(folder)
    done = snakemake_demo(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def demo_cells(demo) -> dict[tuple, Path]:
    """{(model, stream, l0): folder}"""
    found = {}
    for path in demo.glob("results/demo/*/*/matryoshka_batch_topk/l0_*/seed_0"):
        model, stream, _, l0, _ = path.parts[-5:]
        found[model, stream, int(l0.removeprefix("l0_"))] = path
    return found
