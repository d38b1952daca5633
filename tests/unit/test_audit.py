"""The audit: each point fires on a fault planted for it, and on no other; what a point cannot say, it says."""

import csv
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.metrics import roc_curve

from checkout import configuration_of
from conftest import BY_PENALTY, COMPUTE, MATRYOSHKA, a_cell, train_settings
from maskedsae.experiment.settings import audit_settings
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import sha256
from maskedsae.saes import training
from maskedsae.saes.learner import COLUMNS
from maskedsae.scores.audit.audit import audit
from maskedsae.scores.audit.points import POINTS, alarm_rate
from maskedsae.scores.ood.rows import Scored, write_scores

AUDIT = audit_settings(configuration_of({})).audit
STEPS, LATENTS = 40_000, 64

# training.csv of an SAE to whose training there is nothing to object: at each limit, or a little on the right side.
HEALTHY = {"dormant_1e-04": 3, "dormant_5e-05": 0, "least_decoder_norm": 0.1, "l1": 1e-3, "masked_latents": 6}


def write_training(path, **faults):
    """A row for each 100 steps. A fault is a column's value from step 30,000 on."""
    with open(path, "w", newline="") as file:
        lines = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        lines.writeheader()
        for step in [*range(0, STEPS, 100), STEPS - 1]:
            row = {"step": step, "loss_variance": 2 if step < STEPS / 2 else 1.0} | HEALTHY
            lines.writerow(row | (faults if step >= 30_000 else {}))


def probes(folder, alarmed: int):
    """ood_rows.csv and oracle_rows.csv. Of 100 negatives on each side, 5 and `alarmed` are above all others."""
    found = {"ood": alarmed, "oracle": 20}
    for name, alarms in found.items():
        scored = []
        for dataset in ("one", "other"):
            for test, count in (("in_distribution", 5), ("ood", alarms)):
                scores = np.concatenate([np.full(count, 0.9), np.full(100 - count, 0.1), np.full(100, 0.8)])
                scored.append(Scored(dataset, test, np.arange(200), np.arange(200) // 100, scores))
        write_scores(folder / f"{name}_rows.csv", scored)
    return [str(folder / f"{name}_rows.csv") for name in found]


@pytest.fixture
def cell(cells, tmp_path):
    """A real SAE, with a training.csv that no one can object to."""
    shutil.copytree(cells[MATRYOSHKA] / "sae", tmp_path / "sae")
    write_training(tmp_path / "training.csv")
    return tmp_path


def points(cell, alarmed=22):
    found = audit(cell / "training.csv", probes(cell, alarmed), AUDIT)
    json.dumps(found, allow_nan=False)
    return found["audits"]


def weights(cell, change):
    """Its safetensors, changed and with the checksum of what is there now."""
    path = cell / "sae" / "sae_weights.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    sums = cell / "sae" / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(path.name)]
    sums.write_text("\n".join([*lines, f"{sha256(path)}  {path.name}"]) + "\n")


def test_nothing_fires_without_a_fault(cell):
    found = points(cell)
    assert [each["step"] for each in found] == [10_000, 20_000, 30_000, STEPS - 1]
    assert [each["fires"] for each in found] == [[]] * 4
    assert list(found[-1]["points"]) == [*POINTS]
    assert all(point["applies"] for point in found[-1]["points"].values())


def shorter(tensors):
    tensors["W_dec"][7] *= 0.09 / np.linalg.norm(tensors["W_dec"][7])


def flip(cell, name):
    path = cell / "sae" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("point", "faults"),
    [
        ("dead", {"dormant_1e-04": 4}),
        ("variance", {"loss_variance": 1.06}),
        ("l1", {"l1": 1.01e-3}),
        ("masked", {"masked_latents": 7}),
    ],
)
def test_a_fault_of_the_training_fires_its_point_and_no_other_from_then_on(cell, point, faults):
    write_training(cell / "training.csv", **faults)
    assert [each["fires"] for each in points(cell)] == [[], [], [point], [point]]


@pytest.mark.parametrize(
    ("point", "plant"),
    [
        ("decoder_norm", lambda cell: weights(cell, shorter)),
        ("checksums", lambda cell: flip(cell, "sae_weights.safetensors")),
        ("checksums", lambda cell: flip(cell, "ae.pt")),
        ("checksums", lambda cell: (cell / "sae" / "cfg.json").write_text(json.dumps({"d_sae": LATENTS}))),
        ("checksums", lambda cell: (cell / "sae" / "ae.pt").unlink()),
        ("checksums", lambda cell: (cell / "sae" / "sae_weights.safetensors").write_bytes(b"pickle")),
        ("checksums", lambda cell: shutil.copy(cell / "sae" / "sae_weights.safetensors", cell / "sae/b.safetensors")),
    ],
)
def test_a_fault_of_the_finished_sae_fires_its_point_and_no_other(cell, point, plant):
    plant(cell)
    assert [each["fires"] for each in points(cell)] == [[], [], [], [point]]


def test_the_decoder_norm_is_watched_while_it_trains_too(cell):
    write_training(cell / "training.csv", least_decoder_norm=0.09)
    assert [each["fires"] for each in points(cell)] == [[], [], ["decoder_norm"], []]  # at the end, of the file


def test_a_probe_that_is_alarmed_more_often_than_without_an_sae_fires_its_point(cell):
    assert points(cell, alarmed=23)[-1]["fires"] == ["false_positives"]
    said = points(cell, alarmed=23)[-1]["points"]["false_positives"]
    assert (said["value"], said["baseline"], said["limit"]) == (0.23, 0.2, pytest.approx(0.22))


def test_a_damaged_file_is_named(cell):
    flip(cell, "ae.pt")
    assert points(cell)[-1]["points"]["checksums"]["why"] == "ae.pt is not the file that was written"


def test_what_does_not_apply_says_so(cell):
    write_training(cell / "training.csv")
    (cell / "training.csv").write_text((cell / "training.csv").read_text().replace("0.001,6,", ",,"))
    found = audit(cell / "training.csv", [], AUDIT)["audits"]
    assert found[-1]["points"]["l1"] == {"applies": False, "why": "the trainer has no L1 penalty"}
    assert found[-1]["points"]["masked"] == {"applies": False, "why": "the trainer masks no latent"}
    assert found[-1]["points"]["false_positives"]["why"].startswith("a planted truth has no text")
    assert found[0]["points"]["checksums"] == {"applies": False, "why": "only the finished SAE is asked"}
    assert found[1]["points"]["variance"]["why"].startswith("before step 24,000 there is no baseline")
    assert found[-1]["fires"] == []


def test_a_real_training_is_audited(cells):
    """Every trainer's, as it was written: 100 steps, so only at the end."""
    for kind, folder in cells.items():
        (found,) = audit(folder / "training.csv", [], AUDIT)["audits"]
        assert found["step"] == 99 and list(found["points"]) == [*POINTS], kind
        assert found["points"]["checksums"] == {"applies": True, "value": 0, "limit": 0, "fires": False}
        # Of these settings: 0.04 for this l0, far above the article's 1e-3; and a mask that takes most latents.
        assert found["points"]["l1"]["applies"] == ("l1" in found["fires"]) == (kind in BY_PENALTY), kind
        assert found["points"]["masked"]["applies"] == ("masked" in found["fires"]) == (kind == "masked_penalty"), kind


def test_latents_that_die_in_a_real_training_are_seen(facts, tokens_folders, tmp_path, monkeypatch):
    made = training.make_trainer

    def with_dead_latents(*given):
        trainer = made(*given)
        trainer.ae.encoder.bias.data[:8] = -100
        return trainer

    shares = []
    for name, make in (("healthy", made), ("planted", with_dead_latents)):
        monkeypatch.setattr(training, "make_trainer", make)
        manifest = tokens_folders["gpt_neox"] / "manifest.json"
        to = {a_cell(8, "topk"): tmp_path / name}
        training.train_cells(to, train_settings("topk"), facts["gpt_neox"], manifest, COMPUTE)
        (found,) = audit(tmp_path / name / "training.csv", [], AUDIT)["audits"]
        shares.append(found["points"]["dead"]["value"])
        assert ("dead" in found["fires"]) == (name == "planted")
    assert shares[1] - shares[0] >= 7 / 64


@pytest.mark.parametrize("alerts", [0.01, 0.05, 0.3])
def test_the_alarm_rate_is_the_one_of_a_roc_curve(alerts):
    """The highest that scikit-learn's curve reaches where no more than `alerts` of the known rows are alarmed; with
    ties, which sparse latents have."""
    rng = np.random.default_rng(0)
    known, other = (np.round(rng.normal(shift, 1, 400), 1) for shift in (0, 0.5))
    of_known, of_other, _ = roc_curve(np.repeat([0, 1], 400), np.append(known, other), drop_intermediate=False)
    assert alarm_rate(known, other, alerts) == of_other[of_known <= alerts].max()


@pytest.mark.parametrize("text", ["", "step,tokens\n", "step,tokens,loss\n0,1,2\n", "step,loss_variance\n0,x\n"])
def test_a_broken_training_csv_stops_with_its_path(cell, text):
    (cell / "training.csv").write_text(text)
    with pytest.raises(InputError, match=r"training\.csv: not of the form of a training\.csv .*: train this SAE again"):
        audit(cell / "training.csv", [], AUDIT)
