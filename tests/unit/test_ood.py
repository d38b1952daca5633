"""Probing out of distribution does what the original's code does, where that is sound, and says when data are not."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from dictionary_learning.utils import load_dictionary
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForCausalLM, AutoTokenizer

from conftest import COMPUTE, FAMILIES, LAYER
from maskedsae.activations.language_models import LanguageModel
from maskedsae.inference.paired import paired_difference
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.files import read_json, write_json
from maskedsae.jobs.typed import plain
from maskedsae.saes.trainers.base import known_kinds
from maskedsae.scores.ood import datasets
from maskedsae.scores.ood.activations import Part, read_activations, to_bytes
from maskedsae.scores.ood.compactness import latents_for_95
from maskedsae.scores.ood.last_tokens import last_residuals, token_ids, write_activations
from maskedsae.scores.ood.latents import Encoder, most_different
from maskedsae.scores.ood.probes import STRENGTHS, balanced_rows, first_rows, fit, logistic_regression
from maskedsae.scores.ood.rows import TESTS, Scored, read_scores, write_scores
from maskedsae.scores.ood.scores import divide, oracle, sae_probes, write_sae_probes
from maskedsae.scores.ood.settings import OodTexts, SaeProbing
from maskedsae.text.sae_probes_data import OOD_SETS

OF_ACTIVATIONS = OodTexts(rows=240, max_tokens=1024, bos=None, dtype="float32", batch_tokens=4096, code={})
SETTINGS = SaeProbing(
    train_rows=160,
    split_seed=42,
    validation_rows=40,
    max_iter=200,
    seed=1,
    drop_seen=True,
    bootstrap=200,
    code={},
    k=16,
    ks=(1, 4, 16),
    same_rows=True,
)
FIT = {"validation_rows": 100, "seed": 1, "max_iter": 1000}  # the protocol's


@pytest.fixture(scope="module")
def activations(facts, tmp_path_factory):
    """The eight real data sets, seen by a tiny language model."""
    path = tmp_path_factory.mktemp("ood") / "activations.safetensors"
    write_activations(path, facts["gpt_neox"], OF_ACTIVATIONS, COMPUTE)
    return path


# The data sets.


def test_there_are_the_eight_that_stay_out_of_the_demos_text():
    assert tuple(datasets.LABELS) == OOD_SETS


@pytest.mark.parametrize("name", datasets.LABELS)
def test_labels_of_the_real_files_are_aligned_as_the_originals_sorting_has_them(name):
    """There both files' labels are sorted and numbered each for itself, which happens to be right."""
    from sklearn.preprocessing import LabelEncoder

    folder = datasets.data_folder()
    train, ood = datasets.load(name, rows=1500)
    for texts, path in ((train, f"cleaned_data/{name}.csv.zst"), (ood, f"OOD data/{name}_OOD.csv.zst")):
        table = pd.read_csv(folder / path)
        rows = len(texts.labels)
        assert rows == min(len(table), 1500)
        assert texts.prompts == table["prompt"][:rows].tolist()
        assert np.array_equal(texts.labels, LabelEncoder().fit_transform(table["target"].values)[:rows])


@pytest.mark.parametrize(
    ("name", "meaning", "train", "ood"),
    [
        ("5_hist_fig_ismale", "male", "Andreas Rudolph", "Bugs Bunny"),
        ("6_hist_fig_isamerican", "American", "Barbara W. Tuchman", "lJohn Smith"),
        ("7_hist_fig_ispolitician", "politician", "Zhang Fu", "Shao Lü"),
        ("66_living-room", "ends in the bigram", "The boy obeyed, his eyes", "Dernière évaluation"),
        ("67_social-security", "ends in the bigram", " let people know who I am.", "Declaraciones: ingresos"),
        ("73_control-group", "ends in the bigram", " unpaired Student", "Das B/Yamagata"),
        ("87_glue_cola", "acceptable", "The bullets whistled past the house.", "- How far is it from here?"),
        ("90_glue_qnli", "not entailment", "How many passenger trips were made by tram", '"I have opted for Stuttgart'),
    ],
)
def test_a_class_has_one_meaning_in_both_files(name, meaning, train, ood):
    """Read by a person: a text of each file, and the class that both are of."""
    number = [known for known, _, _ in datasets.LABELS[name]].index(meaning)
    for texts, start in zip(datasets.load(name, rows=1500), (train, ood), strict=True):
        assert {label for text, label in zip(texts.prompts, texts.labels, strict=True) if text.startswith(start)} == {
            number
        }


def small_files(folder, train=("0", "1"), ood=("0", "1")):
    for kind, name, labels in (("cleaned_data", "", train), ("OOD data", "_OOD", ood)):
        (folder / kind).mkdir()
        table = pd.DataFrame({"prompt": [f"text {i}" for i in range(len(labels))], "target": labels})
        table.to_csv(folder / kind / f"5_hist_fig_ismale{name}.csv.zst", index=False)
    return folder


def test_a_label_that_training_does_not_know_is_an_error_that_names_it_and_its_file(tmp_path):
    with pytest.raises(InputError, match=r"5_hist_fig_ismale_OOD\.csv\.zst: label 'female' is none of '0', '1'"):
        datasets.load("5_hist_fig_ismale", 10, small_files(tmp_path, ood=("0", "female", "1")))


def test_a_class_without_rows_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no row has label '1'"):
        datasets.load("5_hist_fig_ismale", 10, small_files(tmp_path, ood=("0", "0")))


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match="is missing"):
        datasets.load("5_hist_fig_ismale", 10, tmp_path)


# The activations.

TEXTS = ["One", "A somewhat longer text, of the same few words.", "word " * 60, "Ünïcode …"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_tokens", [20, 64])
def test_activations_are_the_last_tokens_of_a_plain_forward_pass(family, max_tokens, model_folders, facts):
    tokenizer = AutoTokenizer.from_pretrained(model_folders[family], truncation_side="left")
    whole = AutoModelForCausalLM.from_pretrained(model_folders[family], dtype=torch.float32)
    bos, expected = facts[family].bos, []
    for text in TEXTS:
        ids = tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected.append(whole(input_ids=ids, output_hidden_states=True).hidden_states[LAYER + 1][0, -1])
    contexts = [token_ids(tokenizer, text, bos, max_tokens) for text in TEXTS]
    found = last_residuals(LanguageModel(facts[family], "float32", "cpu"), contexts, batch_tokens=40)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_truncation_is_on_the_left_and_bos_stays(model_folders):
    tokenizer = AutoTokenizer.from_pretrained(model_folders["gemma2"])
    whole = token_ids(tokenizer, TEXTS[2], True, 1000)
    assert token_ids(tokenizer, TEXTS[2], True, 20) == [tokenizer.bos_token_id, *whole[-19:]]
    assert token_ids(tokenizer, TEXTS[2], False, 20) == whole[-20:]


def test_no_text_is_longer_than_the_model_can_read(facts, tmp_path, monkeypatch):
    """Whatever ood.max_tokens says; the tiny models read 64 tokens, and many of the texts are longer."""
    lengths = {}

    def seen(model, contexts, batch_tokens):
        lengths[len(lengths)] = {len(ids) for ids in contexts}
        return torch.zeros(len(contexts), model.width)

    monkeypatch.setattr("maskedsae.scores.ood.last_tokens.last_residuals", seen)
    for asked in (1024, 48):
        write_activations(tmp_path / "x", facts["gpt_neox"], replace(OF_ACTIVATIONS, max_tokens=asked), COMPUTE)
    assert (max(lengths[0]), max(lengths[1])) == (64, 48)


def test_the_file_holds_all_rows_of_the_eight_in_the_files_order(activations, facts):
    sets, classes = read_activations(activations)
    assert tuple(sets) == OOD_SETS == tuple(classes)
    for name, parts in sets.items():
        for part, texts in zip(parts.values(), datasets.load(name, OF_ACTIVATIONS.rows), strict=True):
            assert np.array_equal(part.labels.numpy(), texts.labels)
            assert part.x.shape == (len(texts.prompts), facts["gpt_neox"].width)
            assert len(set(part.texts.tolist())) == len(set(texts.prompts))


def test_the_file_is_the_same_bytes_again(activations, facts, tmp_path):
    write_activations(tmp_path / "again.safetensors", facts["gpt_neox"], OF_ACTIVATIONS, COMPUTE)
    assert (tmp_path / "again.safetensors").read_bytes() == activations.read_bytes()


# Rows.


def labels_of(ones: int, zeros: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat([1, 0], [ones, zeros]))


def test_training_rows_are_the_originals():
    from sae_probes.utils_data import get_train_test_indices

    labels = labels_of(722, 778)
    expected, _ = get_train_test_indices(labels, 1024, 0, 0.5, seed=42)
    assert np.array_equal(balanced_rows(labels, 1024, 42), expected)


@pytest.mark.parametrize("draw", [balanced_rows, first_rows])
def test_training_rows_are_balanced_and_seeded(draw):
    labels = labels_of(722, 778)
    rows = draw(labels, 1024, 42)
    assert len(set(rows)) == 1024 and labels[rows].sum() == 512
    assert np.array_equal(rows, draw(labels, 1024, 42)) and not np.array_equal(rows, draw(labels, 1024, 43))


def parts_of(x: torch.Tensor, labels: np.ndarray, ood_x: torch.Tensor, ood_labels: np.ndarray, texts=None) -> dict:
    texts = torch.arange(len(x)) if texts is None else texts
    return {
        "train": Part(x, torch.from_numpy(labels), texts),
        "ood": Part(ood_x, torch.from_numpy(ood_labels), torch.arange(len(ood_x)) + 10_000),
    }


def test_no_test_row_is_a_training_row_and_none_is_lost():
    labels = labels_of(150, 150)
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    rows = balanced_rows(labels, 200, 42)
    train, tests = divide(parts_of(x, labels, x[:50], labels[:50]), rows, drop_seen=True)
    assert sorted([*train.numbers, *tests["in_distribution"].numbers]) == list(range(300))
    assert len(tests["ood"].numbers) == 50
    assert np.array_equal(train.x, x[rows]) and np.array_equal(train.labels, labels[rows])


def test_texts_that_were_trained_on_are_left_out_of_the_tests_unless_kept():
    labels = labels_of(150, 150)
    x, rows = torch.zeros(300, 4), balanced_rows(labels, 200, 42)
    texts = torch.arange(300)
    unused = np.setdiff1d(np.arange(300), rows)
    texts[unused[:7]] = texts[rows[0]].item()
    parts = parts_of(x, labels, x[:50], labels[:50], texts)
    _, tests = divide(parts, rows, drop_seen=True)
    assert np.array_equal(tests["in_distribution"].numbers, unused[7:])
    _, tests = divide(parts, rows, drop_seen=False)
    assert np.array_equal(tests["in_distribution"].numbers, unused)


# The probes.


def features(kind: str, rows: int = 1024, test_rows: int = 300) -> tuple:
    """Sparse, positive and unscaled, as latents are; some carry the label, some are always zero, two are equal."""
    carried = {"hard": 0.4, "easy": 3, "nearly separable": 30, "separable": 60}[kind]
    rng = np.random.default_rng(int(kind == "hard"))
    labels = rng.integers(0, 2, rows + test_rows)
    x = (rng.random((rows + test_rows, 40)) < 0.2) * rng.exponential(8.0, (rows + test_rows, 40))
    x[:, :6] += carried * labels[:, None] * rng.random((rows + test_rows, 6))
    x[:, 30:35], x[:, 36] = 0, x[:, 35]
    x = x.astype(np.float32)
    return x[:rows], labels[:rows], x[rows:], labels[rows:]


@pytest.mark.parametrize("kind", ["easy", "hard", "nearly separable", "separable"])
@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_probes_are_those_of_the_originals_find_best_reg(penalty, kind):
    from sae_probes.utils_training import find_best_reg

    x, labels, test_x, test_labels = features(kind)
    theirs = find_best_reg(x, labels, test_x, test_labels, penalty=penalty)
    ours = fit(x, labels, penalty, **FIT)
    assert ours.C == theirs.classifier.C
    assert ours.validation_auc == theirs.metrics.val_auc
    assert np.array_equal(ours.model.coef_, theirs.classifier.coef_)
    assert np.array_equal(ours.model.intercept_, theirs.classifier.intercept_)
    assert roc_auc_score(test_labels, ours.score(test_x)) == theirs.metrics.test_auc


@pytest.mark.parametrize(("kind", "aucs_below_1"), [("easy", 10), ("nearly separable", 6), ("separable", 0)])
def test_no_C_is_tried_after_one_whose_probe_has_auc_1(kind, aucs_below_1, monkeypatch):
    """The original tries all ten, and takes the same."""
    tried = []

    def recorded(penalty, C, *others):
        tried.append(C)
        return logistic_regression(penalty, C, *others)

    monkeypatch.setattr("maskedsae.scores.ood.probes.logistic_regression", recorded)
    x, labels, _, _ = features(kind)
    fitted = fit(x, labels, "l1", **FIT)
    assert tried == [*STRENGTHS[: aucs_below_1 + 1], fitted.C]  # the last one is trained on all rows
    assert (fitted.validation_auc == 1) == (kind != "easy")


@pytest.mark.parametrize("kind", ["easy", "hard"])
def test_latents_are_chosen_by_the_originals_mean_difference(kind):
    from sae_probes.run_sae_evals import get_sorted_indices

    x, labels, _, _ = features(kind)
    x, labels = torch.from_numpy(x), torch.from_numpy(labels)
    theirs, ours = get_sorted_indices(x, labels, None), most_different(x, labels, 40)
    tied = {*range(30, 37)}  # zero or equal: the original leaves their order open
    assert [i for i in ours.tolist() if i not in tied] == [i for i in theirs.tolist() if i not in tied]
    assert set(most_different(x, labels, 6).tolist()) == set(theirs[:6].tolist())


@pytest.mark.parametrize("trainer", known_kinds())
@torch.no_grad()
def test_latents_are_what_dictionary_learning_encodes(trainer, cells, activations):
    sets, _ = read_activations(activations)
    x = sets["87_glue_cola"]["ood"].x
    dictionary, _ = load_dictionary(str(cells[trainer] / "sae"), device="cpu")
    ours, theirs = Encoder(cells[trainer] / "sae")(x), dictionary.encode(x)
    assert torch.equal(ours != 0, theirs != 0) and (theirs != 0).any()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


# Known answers: a file of activations whose labels are what we say.


def known(path, kind: str):
    """Eight made-up data sets: the class is the first activation's sign, or nowhere, or flipped in the OOD rows."""
    generator, tensors = torch.Generator().manual_seed(0), {}
    names = [f"set{i}" for i in range(8)]
    for name in names:
        for part, rows in (("train", 1500), ("ood", 300)):
            x, labels = torch.randn(rows, 8, generator=generator), torch.arange(rows) % 2
            if kind != "random":
                flip = kind == "flipped" and part == "ood"
                x[:, 0] = (2.0 * (labels ^ flip) - 1) * (1 + x[:, 0].abs())
            tensors |= {f"{name}/{part}/x": x, f"{name}/{part}/labels": labels}
            tensors[f"{name}/{part}/texts"] = torch.arange(rows) + (0 if part == "train" else 5000)
    path.write_bytes(to_bytes(tensors, {name: ["no", "yes"] for name in names}))
    return path


PROTOCOL = replace(SETTINGS, train_rows=1024, validation_rows=100, k=8, ks=(1, 8))


@pytest.fixture
def identity(tmp_path):
    """An SAE whose latents are x and -x, cut off at zero."""
    from safetensors.torch import save_file

    eye = torch.cat([torch.eye(8), -torch.eye(8)], dim=1)
    weights = {"W_enc": eye, "b_enc": torch.zeros(16), "b_dec": torch.zeros(8), "threshold": torch.zeros(16)}
    save_file(weights, tmp_path / "sae_weights.safetensors")
    write_json(tmp_path / "cfg.json", {"apply_b_dec_to_input": True, "architecture": "jumprelu"})
    return tmp_path


@pytest.mark.parametrize(("kind", "auc"), [("separable", 1), ("flipped", 0)])
def test_separable_classes_have_auc_1_and_flipped_labels_1_less_that(kind, auc, tmp_path, identity):
    path = known(tmp_path / "x.safetensors", kind)
    for result, _ in (oracle(path, PROTOCOL, 1), sae_probes(path, identity, PROTOCOL, 1)):
        assert result["mean"]["ood"] == {"mean": auc, "standard_error": 0, "interval": [auc, auc]}
        assert result["mean"]["in_distribution"]["mean"] == 1
    assert {latent for entry in result["datasets"].values() for latent in entry["latents"][:2]} == {0, 8}


def test_random_features_have_auc_one_half_within_noise(tmp_path, identity):
    path = known(tmp_path / "x.safetensors", "random")
    for result, _ in (oracle(path, PROTOCOL, 1), sae_probes(path, identity, PROTOCOL, 1)):
        mean, (low, high) = result["mean"]["ood"]["mean"], result["mean"]["ood"]["interval"]
        # 150 rows of each class: an AUC's standard deviation is sqrt(301 / 12) / 150 = 0.033, of eight's mean 0.012.
        assert abs(mean - 0.5) < 4 * 0.012
        assert 0.8 < (high - low) / (2 * 1.96 * 0.012) < 1.2


# The whole, on real texts.


@pytest.mark.parametrize("probes", ["oracle", "sae"])
def test_one_worker_or_two_and_a_rerun_write_the_same_bytes(probes, activations, cells, tmp_path):
    written = []
    for number, workers in enumerate((1, 2, 1)):
        if probes == "oracle":
            result, scored = oracle(activations, SETTINGS, workers)
        else:
            result, scored = sae_probes(activations, cells["matryoshka_batch_topk"] / "sae", SETTINGS, workers)
        write_json(tmp_path / f"{number}.json", result)
        write_scores(tmp_path / f"{number}.csv", scored)
        written.append([(tmp_path / f"{number}.{end}").read_bytes() for end in ("json", "csv")])
    assert written[0] == written[1] == written[2]


def test_oracle_and_sae_probes_learn_from_the_same_rows_unless_told_otherwise(activations, cells):
    sae = cells["topk"] / "sae"
    rows_of = lambda scored: {(one.dataset, one.test): one.rows.tolist() for one in scored}  # noqa: E731
    expected = rows_of(oracle(activations, SETTINGS, 1)[1])
    assert rows_of(sae_probes(activations, sae, SETTINGS, 1)[1]) == expected
    assert rows_of(sae_probes(activations, sae, replace(SETTINGS, same_rows=False), 1)[1]) != expected


def test_the_json_says_what_was_probed(activations, cells):
    result, _ = sae_probes(activations, cells["topk"] / "sae", SETTINGS, 1)
    assert result["protocol"] == {key: value for key, value in plain(SETTINGS).items() if key != "code"} and list(
        result["datasets"]
    ) == list(OOD_SETS)
    for name, entry in result["datasets"].items():
        _, ood = datasets.load(name, OF_ACTIVATIONS.rows)
        assert entry["train"] == {"rows": 160, "of_class_1": 80}
        assert entry["ood"]["rows"] == len(ood.labels)  # none of these texts is among the first training rows
        assert 0 < entry["ood"]["of_class_1"] < entry["ood"]["rows"]
        assert entry["classes"] == [meaning for meaning, _, _ in datasets.LABELS[name]]
        assert entry["features"] == len(entry["latents"]) == 16 >= entry["weights"]
        assert entry["by_k"][16]["ood"] == entry["ood"]["auc"]
        assert entry["ood"]["interval"][0] <= entry["ood"]["auc"] <= entry["ood"]["interval"][1]
    aucs = [entry["ood"]["auc"] for entry in result["datasets"].values()]
    assert result["mean"]["ood"]["mean"] == pytest.approx(np.mean(aucs))
    assert result["mean"]["ood"]["standard_error"] == pytest.approx(np.std(aucs, ddof=1) / 8**0.5)
    assert result["mean_by_k"][16]["ood"] == pytest.approx(np.mean(aucs))


def test_l0_is_that_of_the_test_rows_by_dictionary_learnings_own_encoder(activations, cells):
    folder = cells["matryoshka_batch_topk"] / "sae"
    found = sae_probes(activations, folder, SETTINGS, 1)[0]["l0"]
    encoder, _ = load_dictionary(str(folder), "cpu")
    sets, _ = read_activations(activations)
    l0s = {test: [] for test in TESTS}
    for parts in sets.values():
        rows = balanced_rows(parts["train"].labels.numpy(), SETTINGS.train_rows, SETTINGS.split_seed)
        _, tests = divide(parts, rows, SETTINGS.drop_seen)
        for test, of_test in tests.items():
            with torch.no_grad():
                latents = encoder.encode(torch.tensor(of_test.x), use_threshold=True)
            l0s[test].append((latents != 0).sum(-1).double().mean().item())
    assert found == pytest.approx({test: np.mean(values) for test, values in l0s.items()}, rel=1e-12)
    assert found["ood"] != found["in_distribution"]


@pytest.mark.parametrize(
    ("aucs", "latents"),
    [
        ({1: 0.5, 4: 0.6, 16: 0.8}, 8.0),  # 0.95 x 0.7 / 0.95 = 0.7, halfway from log 4 to log 16
        ({1: 0.5, 4: 0.7, 16: 0.6}, 4.0),  # where it is reached first
        ({16: 0.9, 1: 0.5, 4: 0.69}, 2 ** (2 + 2 * 0.01 / 0.21)),  # in the order of k
        ({1: 0.71, 4: 0.8}, 1.0),  # the smallest k is enough
        ({1: 0.5, 4: 0.699}, None),  # none is
    ],
)
def test_latents_for_95_percent_of_the_oracle_are_interpolated_in_log_k(aucs, latents):
    assert latents_for_95(aucs, oracle=0.7 / 0.95) == (latents and pytest.approx(latents))


def test_an_sae_is_set_against_its_models_oracle_in_both_tests(activations, cells, tmp_path):
    """By the file that rule `oracle` writes; each goal is the curve's highest point."""
    cell = tmp_path / "results/tiny/neox/clean/topk/l0_8/seed_0"
    shutil.copytree(cells["topk"] / "sae", cell / "sae")
    weights, to = cell / "sae/sae_weights.safetensors", [cell / "scores" / name for name in ("ood.json", "rows.csv")]
    curve = sae_probes(activations, cell / "sae", SETTINGS, 1)[0]["mean_by_k"]
    goals = {test: max(curve[k][test] for k in SETTINGS.ks) for test in TESTS}
    write_json(tmp_path / "oracle.json", {"mean": {test: {"mean": goal / 0.95} for test, goal in goals.items()}})
    write_sae_probes(*to, activations, weights, tmp_path / "oracle.json", SETTINGS, 1)
    found = read_json(to[0])["latents_for_95"]
    assert found == {
        test: pytest.approx(min(k for k in SETTINGS.ks if curve[k][test] == goal)) for test, goal in goals.items()
    }


# Intervals and differences.


def scored(noise: float, dataset: str = "a", test: str = "ood", seed: int = 0) -> Scored:
    rng = np.random.default_rng(seed)
    labels = np.arange(300) % 2
    return Scored(dataset, test, np.arange(300), labels, labels + noise * rng.normal(size=300))


def test_resampled_aucs_are_scikit_learns_of_resampled_rows():
    one = scored(1.0)
    one = Scored(one.dataset, one.test, one.rows, one.labels, one.scores.round(1))  # with ties
    rng = np.random.default_rng([5, *b"a/ood"])
    above, below = (rng.multinomial(150, np.full(150, 1 / 150), size=20) for _ in range(2))
    weights = np.zeros((20, 300))
    weights[:, one.labels == 1], weights[:, one.labels == 0] = above, below
    expected = [roc_auc_score(one.labels, one.scores, sample_weight=weight) for weight in weights]
    assert one.resampled_aucs(20, 5) == pytest.approx(expected)


def write_both(path, noise: float, seed: int = 0) -> None:
    write_scores(path, [scored(noise, dataset, test, seed) for dataset in "ab" for test in TESTS])


def test_a_probe_differs_from_itself_by_nothing_and_a_better_one_by_more_than_chance(tmp_path):
    write_both(tmp_path / "one.csv", 1.0)
    write_both(tmp_path / "noisier.csv", 2.0)
    same = paired_difference(tmp_path / "one.csv", tmp_path / "one.csv")
    assert same["ood"]["mean"] == 0 and same["ood"]["interval"] == [0, 0]
    better = paired_difference(tmp_path / "one.csv", tmp_path / "noisier.csv")["ood"]
    one, noisier = (read_scores(tmp_path / f"{name}.csv")["a", "ood"].auc for name in ("one", "noisier"))
    assert better["datasets"]["a"]["difference"] == one - noisier
    assert 0 < better["interval"][0] < better["mean"] < better["interval"][1]


def test_pairing_is_narrower_than_two_intervals(tmp_path):
    write_both(tmp_path / "one.csv", 1.0)
    write_both(tmp_path / "close.csv", 1.05)
    paired = paired_difference(tmp_path / "close.csv", tmp_path / "one.csv")["ood"]["datasets"]["a"]["interval"]
    alone = np.percentile(scored(1.0).resampled_aucs(1000, 1), [2.5, 97.5])
    assert paired[1] - paired[0] < (alone[1] - alone[0]) / 5


def test_scores_of_other_rows_are_not_compared(tmp_path):
    write_both(tmp_path / "one.csv", 1.0)
    lines = list(csv.reader((tmp_path / "one.csv").open()))
    (tmp_path / "fewer.csv").write_text("".join(",".join(line) + "\n" for line in lines[:1] + lines[3:]))
    with pytest.raises(InputError, match="not of the same rows of a"):
        paired_difference(tmp_path / "one.csv", tmp_path / "fewer.csv")
