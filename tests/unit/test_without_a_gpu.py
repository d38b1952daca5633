"""What goes wrong on a GPU alone, as far as it can be seen without one: processes that are forked too late, tensors on
two devices, waits for the device."""

import os
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from conftest import FAMILIES, a_cell, model_settings, train_settings
from maskedsae.activations import streams
from maskedsae.activations.language_models import LanguageModel, describe
from maskedsae.activations.settings import Stream
from maskedsae.activations.streams import ActivationStream, Batching
from maskedsae.jobs.device import check_device
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import write_json
from maskedsae.jobs.leases import Lease
from maskedsae.jobs.typed import plain
from maskedsae.saes.learner import Learner
from maskedsae.saes.settings import FAST_KINDS
from maskedsae.saes.team import Team
from maskedsae.saes.trainers.base import known_kinds, make_trainer
from maskedsae.scores.saebench.children import check_device_apart, run_child, start_scoring
from maskedsae.text.tokens import Tokens
from on_fake_cuda import STREAMS
from unit.test_families import write_tiny

ROOT = Path(__file__).parents[2]


def python(*arguments: str, path: tuple[Path, ...] = (), **environment: str) -> subprocess.CompletedProcess:
    places = os.pathsep.join(map(str, (*path, ROOT / "scripts")))
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment | {"PYTHONPATH": places},
        capture_output=True,
        text=True,
        check=False,
    )


# Processes: whoever has asked for a GPU has no children that can use it.

REFUSING = """
import sys, torch
def refuse(*_, **__):
    raise AssertionError("asked for a GPU")
for name in ("is_available", "device_count", "current_device", "get_device_name", "_lazy_init"):
    setattr(torch.cuda, name, refuse)
"""
PARENT = """
from maskedsae.activations.language_models import read_facts
from maskedsae.scores.saebench import scoring, shared
for path in sys.argv[1:]:
    shared.hooked_transformer(read_facts(path), "bfloat16")
print("done")
"""


def test_what_forks_the_evals_never_asks_for_a_gpu(facts, model_folders, tmp_path):
    """Neither on import nor when it loads a language model. SAEBench does, so the refusal works."""
    bridged = write_tiny("llama", tmp_path / "llama", model_folders["gpt_neox"])
    known = [*facts.values(), describe(model_settings("gpt_neox", bridged))]
    files = [tmp_path / f"{number}.json" for number in range(len(known))]
    for each, path in zip(known, files, strict=True):
        write_json(path, plain(each))
    done = python("-c", REFUSING + PARENT, *map(str, files))
    assert done.stdout == "done\n", done.stderr
    saebench = python("-c", REFUSING + "import maskedsae.scores.saebench.evals")
    assert "AssertionError: asked for a GPU" in saebench.stderr


def test_a_child_that_cannot_start_cuda_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    with pytest.raises(InputError) as error:
        run_child(tmp_path, tmp_path / "output.txt", "gemma: scr", lambda: start_scoring("cuda", 1))
    message = str(error.value)
    assert message.startswith("gemma: scr: compute.device: cuda: this process cannot start CUDA")
    assert "score in a new process" in message and "run `make env`" in message
    check_device("cpu")


def test_a_scoring_job_without_a_gpu_says_the_line_that_a_training_job_says(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: False)  # other tests import SAEBench here
    with pytest.raises(InputError) as of_training:
        check_device("cuda", "bfloat16")
    with pytest.raises(InputError) as of_scoring:
        check_device_apart(tmp_path, "gemma", "cuda")
    assert str(of_scoring.value) == str(of_training.value)
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_computes_on_the_cpu_sees_no_gpu_and_its_parent_does(monkeypatch, tmp_path):
    """SAEBench's absorption takes its number format from what it sees."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")

    def work() -> str:
        start_scoring("cpu", 1)
        return os.environ["CUDA_VISIBLE_DEVICES"]

    assert run_child(tmp_path, tmp_path / "output.txt", "it", work) == ""
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


# With torch's CUDA build, which can be imported without a GPU.


@pytest.fixture(scope="module")
def cuda_build(tmp_path_factory) -> tuple[Path, ...]:
    """Where it is, before all else on Python's path."""
    if torch.version.cuda:
        return ()
    if os.environ.get("CI") != "true":
        pytest.skip("torch's CUDA build (4 GB) is installed for this in CI only")
    folder = tmp_path_factory.mktemp("cuda")
    wanted = f"torch==={torch.__version__.removesuffix('+cpu')}"  # with two =, pip takes the CPU's build for it too
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--target", folder, wanted]
    subprocess.run(pip, check=True)
    return (folder,)


def test_under_the_cuda_build_a_child_that_scores_may_start_cuda(cuda_build):
    """And could not if its parent imported SAEBench."""
    done = python(str(ROOT / "tests/on_fake_cuda.py"), "fork", path=cuda_build)
    assert done.stdout.splitlines() == ["a child may start CUDA", "with SAEBench imported it may not"], done.stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_every_stream_keeps_its_tensors_on_the_gpu_and_waits_for_none_of_them(
    cuda_build, facts, tokens_folders, tmp_path, family
):
    write_json(tmp_path / "model.json", plain(facts[family]))
    done = python(
        *(str(ROOT / "tests/on_fake_cuda.py"), "streams", str(tmp_path / "model.json"), str(tokens_folders[family])),
        path=cuda_build,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a mistake is seen:") == 5
    assert len(done.stdout.splitlines()) == 2 * len(STREAMS) + 5


def test_a_step_keeps_its_tensors_on_the_gpu(cuda_build):
    done = python(str(ROOT / "tests/on_fake_cuda.py"), "steps", path=cuda_build)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a mistake is seen:") == done.stdout.count("a copy is seen:") == 2 * len(FAST_KINDS)


# Waits for the device. Each of these operations reads a value from a GPU, which must first finish what it was given.


class Waits(TorchDispatchMode):
    """Counts the operations that make the CPU wait for a GPU. (Not all: `torch.tensor(…, device=)` is not seen.)"""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        # Indexing with a mask: how many rows that gives only the GPU knows.
        masks = name in ("index", "index_put", "index_put_") and any(is_mask(index) for index in args[1])
        if masks or name in ("_local_scalar_dense", "nonzero", "masked_select", "equal"):
            self.count[name] += 1
        return func(*args, **kwargs or {})


def is_mask(index: torch.Tensor | None) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)


def waits_of_a_stream(facts, folder, monkeypatch, given: dict, **more) -> Counter[str]:
    """Of two blocks, without those of the language model itself: transformers has some in each forward pass."""
    model, tokens = LanguageModel(facts, "float32", "cpu"), Tokens.open(folder)
    forward = model._model.forward

    def unseen(**inputs):
        with _disable_current_modes():
            return forward(**inputs)

    monkeypatch.setattr(model._model, "forward", unseen)
    batching = Batching(batch=48, block_contexts=10, lm_batch=4, **more)
    data = ActivationStream(model, tokens, Stream.from_plain({"name": "it", **given}), 0, batching)
    with Waits() as waits:
        assert len(list(islice(data.blocks(), 2))) == 2
    return waits.count


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_stream_adds_no_wait_to_the_language_models_own(facts, tokens_folders, monkeypatch, family, name):
    assert waits_of_a_stream(facts[family], tokens_folders[family], monkeypatch, STREAMS[name]) == {}


def test_only_rows_that_depend_on_the_activations_make_a_stream_wait_once_a_block(facts, tokens_folders, monkeypatch):
    given = (facts["gpt_neox"], tokens_folders["gpt_neox"], monkeypatch, STREAMS["masked"])
    assert waits_of_a_stream(*given, max_norm_multiple=2.0) == {"nonzero": 2}


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda tensor: tensor[: len(tensor) + int(tensor.sum().item() * 0)], "_local_scalar_dense"),
        (lambda tensor: tensor[torch.ones(len(tensor), dtype=torch.bool)], "index"),
    ],
)
def test_a_wait_in_a_stream_is_seen(facts, tokens_folders, monkeypatch, wrong, name):
    monkeypatch.setattr(streams, "to_device", lambda tensor, device: wrong(tensor))
    given = (facts["gpt_neox"], tokens_folders["gpt_neox"], monkeypatch, STREAMS["masked"])
    assert waits_of_a_stream(*given).keys() == {name}


@pytest.mark.parametrize("kind", known_kinds())
def test_our_loop_adds_no_wait_to_a_trainers_step(facts, tmp_path, kind):
    settings = train_settings(kind).for_cell(kind, 0)
    rows = torch.randn(20, 64, facts["gpt_neox"].width, generator=torch.Generator().manual_seed(0))
    counted, told = [], None
    for ours in (True, False):
        trainer = make_trainer(settings, 8, facts["gpt_neox"], "cpu")
        learner = Learner(a_cell(8, kind), tmp_path, trainer, kind, plain(settings), Lease(tmp_path))
        team = Team([learner], torch.float32, "cpu")
        with Waits() as waits:
            for step, x in enumerate(rows):
                told = team.learn(step, x) if ours else trainer.update(step, x)
        counted.append(waits.count)
    if told is None:  # a class whose update keeps the loss to itself: we read it once a step
        assert counted[0] - counted[1] == {"_local_scalar_dense": 20} and not counted[1] - counted[0]
    else:
        assert counted[0] == counted[1]
        assert sum(counted[1].values()) >= 20 * 3  # each step of dictionary_learning's waits several times
