"""Around SAEBench's evals: the language model, recorded activations, processes, folders, and what is said aloud.

The evals themselves run on the demo's models and SAEs: tests/demo/test_scores.py.
"""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sae_bench.evals.core import main as core
from sae_bench.evals.scr_and_tpp import main as scr_and_tpp

from checkout import configuration_of
from conftest import FAMILIES, LAYER
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import write_json
from maskedsae.scores.saebench.checks import check_result, check_sae, check_shared
from maskedsae.scores.saebench.children import run_child
from maskedsae.scores.saebench.language_model import hooked_transformer
from maskedsae.scores.saebench.recorded import RecordedCalls
from maskedsae.scores.saebench.saes import load_for_saebench
from maskedsae.scores.saebench.settings import Evals
from maskedsae.scores.saebench.shared import finished_part, remove_unfinished
from maskedsae.scores.saebench.variance import Variance
from maskedsae.scores.saebench.workplace import unshared, workplace
from unit.test_files import on_a_full_disk

HOOK = f"blocks.{LAYER}.hook_resid_post"


# The language model, and its recorded activations.


@pytest.mark.parametrize("family", FAMILIES)
def test_bos_of_prompts_is_as_configured(family, facts):
    for bos in (True, False):
        model = hooked_transformer(facts[family], "float32", bos)
        starts = model.to_tokens("the first")[0, 0].item() == model.tokenizer.bos_token_id
        assert starts == bos


def test_it_has_the_models_name_and_never_a_path(facts):
    assert hooked_transformer(facts["gpt_neox"], "float32", None).cfg.model_name == "tiny-gpt_neox"


def test_a_hub_model_that_is_not_here_says_what_to_do(facts):
    gone = replace(facts["gpt_neox"], path=None, hub="nobody/nothing", commit="0" * 40)
    with pytest.raises(
        InputError, match=r"nobody/nothing at 0+ is not on this machine, or not all of it: remove its model\.json"
    ):
        hooked_transformer(gone, "float32", None)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_recorded_activations_are_those_that_would_be_computed(facts, tmp_path, dtype):
    tokens = torch.randint(3, 400, (2, 16), generator=torch.Generator().manual_seed(0))
    options = {"names_filter": [HOOK], "prepend_bos": False, "stop_at_layer": LAYER + 1}

    def model():
        return hooked_transformer(facts["gpt_neox"], dtype, True)

    recording = RecordedCalls(first := model(), tmp_path / "calls", LAYER, record=True)
    first.run_with_cache(tokens, **options)
    first.run_with_cache(["the first", "a word"], names_filter=[HOOK])
    recording.close()
    reading, plain = RecordedCalls(second := model(), tmp_path / "calls", LAYER), model()
    for given, how in ((tokens, options), (["the first", "a word"], {"names_filter": [HOOK]})):
        assert torch.equal(second.run_with_cache(given, **how)[1][HOOK], plain.run_with_cache(given, **how)[1][HOOK])
    assert (reading.hits, reading.misses) == (2, 0)
    # What differs by a token, a text or the BOS before it is computed.
    other = tokens.clone()
    other[1, 15] += 1
    assert torch.equal(
        second.run_with_cache(other, **options)[1][HOOK], plain.run_with_cache(other, **options)[1][HOOK]
    )
    second.cfg.default_prepend_bos = False
    second.run_with_cache(["the first", "a word"], names_filter=[HOOK])
    assert (reading.hits, reading.misses) == (2, 2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_follows_a_replaced_activation_is_what_the_whole_model_makes_of_it(facts, tmp_path, family, dtype):
    """As core asks for it: logits and losses as they are, with the hook's activations changed, and with zeros."""
    tokens = torch.randint(3, 400, (2, 16), generator=torch.Generator().manual_seed(0))
    options = {"return_type": "both", "loss_per_token": True}

    def model():
        return hooked_transformer(facts[family], dtype, True)

    def thrice(model) -> list[torch.Tensor]:
        hooks = [lambda x, hook: x.roll(1, 0) * 2, lambda x, hook: torch.zeros_like(x)]
        replaced = [model.run_with_hooks(tokens, fwd_hooks=[(HOOK, hook)], **options) for hook in hooks]
        return [tensor for both in (model(tokens, **options), *replaced, model(tokens, **options)) for tensor in both]

    plain = thrice(model())
    recording = RecordedCalls(first := model(), tmp_path / "calls", LAYER, record=True)
    first(tokens, **options)
    assert all(map(torch.equal, thrice(first), plain))
    recording.close()
    reading = RecordedCalls(second := model(), tmp_path / "calls", LAYER)
    blocks = []
    for number, block in enumerate(second.blocks):
        block.register_forward_hook(lambda *_, number=number: blocks.append(number))
    assert all(map(torch.equal, thrice(second), plain))
    assert (reading.hits, reading.misses) == (4, 0)
    assert blocks == 4 * list(range(LAYER + 1, len(second.blocks)))


# Explained variance.


def toy(rows: int = 512, width: int = 6):
    """Activations about a mean far from zero, and a reconstruction of them; a quarter of the tokens is special."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, width)) + 20 * rng.normal(size=width)
    x_hat = x + 0.5 * rng.normal(size=(rows, width))
    tokens = rng.integers(0, 4, size=rows)
    return tokens, x, x_hat


def test_centred_explained_variance_by_hand():
    tokens, x, x_hat = toy()
    variance = Variance(x.shape[1], {0})
    for rows in np.array_split(np.arange(len(x)), 5):
        parts = (torch.tensor(value[rows]) for value in (tokens, x, np.abs(x) > 20, x_hat))
        variance.add(*(part.unsqueeze(0) for part in parts))
    kept = tokens != 0
    x, x_hat = x[kept], x_hat[kept]
    by_hand = 1 - ((x - x_hat) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    result = variance.result()
    assert result["centred"] == pytest.approx(by_hand, abs=1e-12)
    assert result["tokens"] == kept.sum()
    assert result["l0"] == pytest.approx((np.abs(x) > 20).sum(-1).mean())


# Processes and folders of their own.


def test_a_child_hands_back_what_it_found_and_its_words_go_to_a_file(tmp_path):
    output = tmp_path / "output.txt"

    def work():
        print("working")
        print("warning", file=sys.stderr)
        os.system("echo and its own children")
        return {"folder": os.getcwd(), "home": os.environ["HOME"]}

    folder = tmp_path / "folder"
    folder.mkdir()
    assert run_child(folder, output, "it", work) == {"folder": str(folder), "home": str(folder)}
    assert set(output.read_text().splitlines()) == {"working", "warning", "and its own children"}
    assert os.environ["HOME"] != str(folder)


@pytest.mark.parametrize(
    ("work", "line"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "gemma: scr: was killed (SIGKILL): most likely memory ran out"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "gemma: scr: ended by SIGTERM"),
        (lambda: os._exit(3), "gemma: scr: ended with exit code 3 before it was done"),
        (lambda: {}["a"], "gemma: scr: KeyError in test_saebench.py"),
    ],
)
def test_a_child_that_dies_is_named_with_the_reason(tmp_path, work, line):
    with pytest.raises(InputError) as error:
        run_child(tmp_path, tmp_path / "output.txt", "gemma: scr", work)
    assert str(error.value).startswith(line)
    assert str(tmp_path / "output.txt") in str(error.value)


FULL = """
import os
from pathlib import Path
from maskedsae.jobs.errors import InputError
from maskedsae.scores.saebench.children import run_child
folder = Path(os.environ["FOLDER"]) / "work"
folder.mkdir()
try:
    run_child(folder, Path("/dev/null"), "it", lambda: Path("artefact").write_bytes(b"x" * 3_000_000) and None)
except InputError as error:
    print(error)
"""


def test_a_disk_that_fills_up_while_an_eval_writes_is_one_line(tmp_path):
    done = on_a_full_disk(FULL, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no space left on the disk" in done.stdout


def test_a_parent_that_is_killed_takes_its_child_with_it(tmp_path):
    def sleep():
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(60)

    parent = os.fork()
    if not parent:
        run_child(tmp_path, tmp_path / "output.txt", "it", sleep)
        os._exit(0)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the child goes on")


def test_a_workplace_has_links_to_what_is_shared_and_leaves_nothing(tmp_path):
    for file in ("data/LabHC/bios/train.parquet", "shared/tpp/model/hook/acts.pt"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("shared")
    with workplace(tmp_path / "cell", tmp_path / "data", tmp_path / "shared") as folder:
        assert (folder / "LabHC/bios/train.parquet").read_text() == "shared"
        assert (folder / "artifacts/tpp/model/hook/acts.pt").read_text() == "shared"
        assert unshared(folder) == []
        (folder / "artifacts/tpp/model/hook/more.pt").write_text("own")  # beside the link, not in the shared folder
        assert [str(file) for file in unshared(folder)] == ["tpp/model/hook/more.pt"]
        with workplace(tmp_path / "cell", tmp_path / "data") as other:
            assert other != folder
    assert list((tmp_path / "cell").iterdir()) == []
    assert [str(path.relative_to(tmp_path)) for path in (tmp_path / "shared").rglob("*.pt")] == [
        "shared/tpp/model/hook/acts.pt"
    ]


def test_what_is_shared_must_be_whole(tmp_path):
    (tmp_path / "probe.pth").write_text("probe")
    parts = {"core": {"files": {}}, "absorption": {"files": {"probe.pth": 5}}}
    write_json(tmp_path / "manifest.json", {"parts": parts})
    check_shared(tmp_path, ["core", "absorption"])
    with pytest.raises(InputError, match=r"manifest\.json has nothing for tpp, scr: remove .*manifest\.json"):
        check_shared(tmp_path, ["core", "tpp", "scr"])
    (tmp_path / "probe.pth").write_text("pro")
    with pytest.raises(InputError, match=r"probe\.pth: 3 bytes, not 5: remove .*manifest\.json"):
        check_shared(tmp_path, ["core", "absorption"])
    with pytest.raises(InputError, match=r"manifest\.json has nothing for tpp, scr: remove .*manifest\.json"):
        check_shared(tmp_path, ["core", "tpp", "scr"])
    (tmp_path / "probe.pth").unlink()
    with pytest.raises(InputError, match=r"probe\.pth: missing"):
        check_shared(tmp_path, ["absorption"])


def test_a_part_is_kept_only_while_it_is_whole_and_what_waits_is_left_alone(tmp_path):
    files = ("probes/neox/probe.pth", "absorption_calls.bin", "artifacts/tpp/neox/acts.pt", "work-1/artifacts/tpp/half")
    waiting = ("lease.json", ".lease.0123", ".clock.0123")
    for file in (*files, *waiting, "parts/absorption.json", "parts/tpp.json"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("12345")
    record = {"identity": "now", "found": None, "files": {"absorption_calls.bin": 5, "probes/neox/probe.pth": 5}}
    write_json(tmp_path / "parts/absorption.json", record)
    write_json(tmp_path / "parts/tpp.json", {"identity": "before", "found": None, "files": {files[2]: 5}})
    assert finished_part(tmp_path, "absorption", "now") == record
    assert finished_part(tmp_path, "tpp", "now") is None
    remove_unfinished(tmp_path, ["tpp"])
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*files[:2], *waiting, "parts/absorption.json"}
    (tmp_path / files[0]).write_text("123")
    assert finished_part(tmp_path, "absorption", "now") is None


# SAEs that cannot be scored, and results that lack something.


def test_a_trained_sae_is_fit_to_be_scored(cells):
    for folder in cells.values():
        check_sae(folder / "sae", load_for_saebench(folder / "sae", "tiny"))


def test_an_sae_that_cannot_be_scored_is_refused(cells):
    def sae():
        return load_for_saebench(cells["matryoshka_batch_topk"] / "sae", "tiny")

    unset = sae()
    unset.threshold.fill_(-1)
    with pytest.raises(InputError, match=r"some/sae: the threshold was never set \(-1\).*threshold_start_step"):
        check_sae("some/sae", unset)
    long = sae()
    long.W_dec.data[3] *= 1.001
    with pytest.raises(InputError, match=r"some/sae: decoder vectors must have norm 1, and one is off by 0\.001"):
        check_sae("some/sae", long)
    broken = sae()
    broken.b_enc.data[0] = float("nan")
    with pytest.raises(InputError, match=r"b_enc has values that are not finite"):
        check_sae("some/sae", broken)


PAPER = configuration_of().saebench.eval_settings
EVALS = replace(
    PAPER,
    sparse_probing=replace(PAPER.sparse_probing, k_values=(1, 5), dataset_names=("news",)),
    scr_and_tpp=replace(PAPER.scr_and_tpp, n_values=(2, 20), ties="error"),
)


def refused(path, eval_name: str, result: dict, evals: Evals = EVALS) -> str:
    path = path / "result.json"
    path.write_text(json.dumps(result))
    with pytest.raises(InputError) as error:
        check_result(eval_name, path, evals, [])
    return str(error.value)


def test_no_result_says_what_saebench_said(tmp_path):
    with pytest.raises(InputError, match="wrote no result: Failed to evaluate SAE: no file"):
        check_result("core", tmp_path / "none", EVALS, ["Failed to evaluate SAE: no file"])


def test_nan_is_not_minus_one(tmp_path):
    metrics = {"reconstruction_quality": {"explained_variance": float("nan"), "mse": 0.1}}
    result = {"eval_result_metrics": core.replace_nans_with_negative_one(metrics)}
    assert result["eval_result_metrics"]["reconstruction_quality"]["explained_variance"] == -1
    assert "explained_variance came out as NaN" in refused(tmp_path, "core", result)


def test_a_k_that_was_left_out_is_named(tmp_path):
    detail = {"dataset_name": "news", "sae_top_1_test_accuracy": 0.5, "sae_top_5_test_accuracy": None}
    result = {
        "eval_result_metrics": {"sae": {"sae_top_1_test_accuracy": 0.5, "sae_top_5_test_accuracy": 0.5}},
        "eval_result_details": [detail],
    }
    assert refused(tmp_path, "sparse_probing", result).startswith("sae_top_5_test_accuracy is None, not a number")


def scr_result(*ties: bool) -> dict:
    names = ("scr_metric_threshold_2", "scr_metric_threshold_20")
    details = [
        {"dataset_name": f"pair{number}_results"} | {name: None if tie else 0.3 for name in names}
        for number, tie in enumerate(ties)
    ]
    metrics = {name: None if all(ties) else 0.3 for name in names}
    return {"eval_result_metrics": {"scr_metrics": metrics}, "eval_result_details": details}


def test_saebench_omits_a_pair_whose_labels_are_told_equally_well():
    probe = "male_professor / female_nurse"
    on = [f"{probe} probe on {data} data" for data in ("professor / nurse", "male / female")]
    ablated = {name: {2: dict.fromkeys(on, 0.7)} for name in ("professor / nurse", "male / female")}
    clean = {"professor / nurse": 0.9, "male / female": 0.9}
    for both, scored in (((0.6, 0.6), False), ((0.6, 0.7), True)):
        found = scr_and_tpp.get_scr_plotting_dict(ablated, clean | dict(zip(on, both, strict=True)))
        assert ("scr_metric_threshold_2" in found) == scored


def test_an_omitted_scr_pair_is_an_error_unless_it_was_allowed(tmp_path, caplog):
    message = refused(tmp_path, "scr", scr_result(False, True))
    assert message.startswith("pair1: ") and "ties: leave_out" in message
    allowed = replace(EVALS, scr_and_tpp=replace(EVALS.scr_and_tpp, ties="leave_out"))
    with caplog.at_level("INFO"):
        (tmp_path / "result.json").write_text(json.dumps(scr_result(False, True)))
        check_result("scr", tmp_path / "result.json", allowed, [])
    assert "pair1" in caplog.text
    assert refused(tmp_path, "scr", scr_result(True, True), allowed).startswith("pair0, pair1: ")
