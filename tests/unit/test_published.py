"""reference/ against a second transcription, read off another rendering of the paper; and what it is compared with."""

import re
from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest

from maskedsae.experiment.checks import check
from maskedsae.inference.published import FILES, metrics_of
from reported import DEMO, PAPER, ROOT, checked, shown_of
from scored import PUBLISHED

SHOWN = shown_of(PAPER)
PYTHIA, GEMMA = SHOWN.models
(MATRYOSHKA,) = SHOWN.trainers

# The tables' lines as the HTML version of arXiv 2604.06495v1 has them. (The files were typed off another extraction.)
HTML = r"""
Table 1
Mean Full Absorption (\uparrow) w/o Masking 86.119 91.646 94.650 97.434
w/ Masking 88.475 93.450 96.437 98.003
Explained Variance (\uparrow) w/o Masking 72.172 77.421 82.303 87.841
w/ Masking 71.266 76.874 82.419 88.823
Sparse Probing (\uparrow) w/o Masking 73.483 75.099 78.705 79.574
w/ Masking 75.574 77.112 77.749 79.639
TPP (\uparrow) w/o Masking 10.158 18.218 27.033 30.235
w/ Masking 12.430 18.968 26.488 29.815
SCR (\uparrow) w/o Masking 19.808 25.843 20.132 8.441
w/ Masking 20.343 25.01 27.626 20.240
Table 2
Mean Full Absorption (\uparrow) w/o Masking 90.805 97.365 98.969 99.174
w/ Masking 94.559 98.753 97.322 98.979
Explained Variance (\uparrow) w/o Masking 53.516 58.984 64.453 69.922
w/ Masking 53.125 59.375 64.844 71.094
Sparse Probing (\uparrow) w/o Masking 74.473 73.300 74.659 75.659
w/ Masking 74.206 77.341 74.243 75.363
TPP (\uparrow) w/o Masking 1.000 3.320 7.178 17.550
w/ Masking 1.277 2.893 7.295 15.988
SCR (\uparrow) w/o Masking 22.753 22.991 31.270 28.468
w/ Masking 21.216 30.111 30.736 32.775
Table 3
Mean Full Absorption (\uparrow) 86.119 87.379 88.475 89.602
Explained Variance (\uparrow) 72.171 71.860 71.270 69.540
"""


def second_transcription() -> dict[str, dict]:
    tables: dict[str, dict] = {}
    for line in HTML.strip().splitlines():
        if line.startswith("Table"):
            values = tables.setdefault(line.lower().replace(" ", ""), {})
            continue
        if named := re.match(r"(.*) \(\\uparrow\)", line):
            metric = named[1]
        printed = re.findall(r"\d+\.\d+", line)
        p = 0.3 if "w/ Masking" in line else 0.0
        places = [(p, l0) for l0 in (20, 40, 80, 160)] if "Masking" in line else [(p, 20) for p in (0, 0.2, 0.3, 0.5)]
        values |= {(metric, *place): text for place, text in zip(places, printed, strict=True)}
    return tables


def test_tables_are_the_papers_digit_for_digit():
    assert {table.name: table.values for table in PUBLISHED.tables} == second_transcription()
    assert [len(table.values) for table in PUBLISHED.tables] == [40, 40, 8]


def test_what_is_odd_in_print_is_kept():
    first, second, third = (table.values for table in PUBLISHED.tables)
    assert first["SCR", 0.3, 40] == "25.01"
    assert second["TPP", 0, 20] == "1.000"
    assert (first["Explained Variance", 0, 20], third["Explained Variance", 0, 20]) == ("72.172", "72.171")
    assert (first["Explained Variance", 0.3, 20], third["Explained Variance", 0.3, 20]) == ("71.266", "71.270")


def test_gemmas_explained_variances_are_bfloat16():
    """As reference/README.md says: from 0.5 to 1 its numbers are multiples of 1/256, which is 0.39 points."""
    table = PUBLISHED.table("Gemma", "l0").values
    quanta = {place: 256 * float(text) / 100 for place, text in table.items() if place[0] == "Explained Variance"}
    assert all(f"{100 * round(number) / 256:.3f}" == table[place] for place, number in quanta.items())
    gains = [round(quanta["Explained Variance", 0.3, l0] - quanta["Explained Variance", 0, l0]) for l0 in PAPER["l0"]]
    assert gains == [-1, 1, 1, 3]
    pythia = PUBLISHED.table("Pythia", "l0").values
    assert not any(f"{100 * round(2.56 * float(pythia[place])) / 256:.3f}" == pythia[place] for place in quanta)


def test_a_difference_is_of_one_table():
    """Tables 1 and 3 print the same SAEs' explained variance differently."""
    find = partial(PUBLISHED.values, "Pythia", "Explained Variance")
    assert find([(0.3, 20), (0, 20)]) == [71.266, 72.172]
    assert find([(0.3, 20), (0.2, 20)]) == [71.270, 71.860]
    assert find([(0.2, 20), (0, 20)]) == [71.860, 72.171]
    assert find([(0.2, 20), (0, 40)]) is None


def paragraphs() -> dict[str, str]:
    """The paper's text by place, without its line breaks, which are ours."""
    _, *parts = re.split(r"^\[(.*)\]$", (ROOT / "reference/paper.txt").read_text(), flags=re.MULTILINE)
    return {place: " ".join(text.split()) for place, text in zip(parts[::2], parts[1::2], strict=True)}


def test_each_quotation_is_in_the_paper_where_it_is_said_to_be():
    text, claims = paragraphs(), PUBLISHED.claims["claims"]
    quotations = [(quote["place"], quote["text"]) for claim in claims for quote in (claim, *claim.get("also", []))]
    assert len(quotations) > len(claims) >= 45
    assert {place for place, _ in quotations} == text.keys()
    for place, words in quotations:
        assert words in text[place], words


def test_the_papers_text_gives_the_numbers_that_the_claims_state():
    for claim in PUBLISHED.claims["claims"]:
        if claim["stated"]:
            assert f"{claim['stated']}%" in claim["text"], claim["id"]


def test_claims_state_what_the_papers_own_tables_say():
    """But for digits that it cuts off: 2.356 is stated as 2.35."""
    metrics = {metric.name: metric.label for metric in SHOWN.report.metrics}
    stated = [claim for claim in PUBLISHED.claims["claims"] if claim["stated"] and claim["metric"] != "ood"]
    assert len(stated) == 8
    for claim in stated:
        ((plus,), (minus,)) = claim["differences"][0].values()
        values = PUBLISHED.values(claim["model"], metrics[claim["metric"]], [tuple(plus), tuple(minus)])
        unit = 10 ** -len(claim["stated"].split(".")[1])
        assert abs(values[0] - values[1] - float(claim["stated"])) < unit, claim["id"]


def test_each_claim_compares_cells_of_the_papers_grid_and_has_a_known_form():
    streams, l0s = {stream.p for stream in SHOWN.streams}, set(PAPER["l0"])
    names = {metric.name for metric in SHOWN.report.metrics} | {"ood"}
    claims = PUBLISHED.claims["claims"]
    assert len({claim["id"] for claim in claims}) == len(claims)
    always = {"id", "place", "text", "model", "metric", "direction", "stated", "differences"}
    for claim in claims:
        assert always <= claim.keys() <= always | {"also", "read_as", "because"}
        assert ("because" in claim) == (not claim["differences"])
        assert set(metrics_of(claim)) <= names
        if not claim["differences"]:
            assert (claim["model"], claim["metric"], claim["direction"], claim["stated"]) == (None, None, "none", None)
            continue
        assert claim["model"] in PUBLISHED.experiment["models"]
        assert metrics_of(claim)
        assert claim["direction"] in ("up", "not_worse", "down", "none")
        for terms in claim["differences"]:
            cells = [cell for cell in terms["plus"] + terms["minus"] if cell != "oracle"]
            assert all(p in streams and l0 in l0s for p, l0 in cells)
            assert len(terms["plus"]) == len(terms["minus"])


@pytest.mark.parametrize(("metric", "found"), [("tpp", ("tpp",)), (["tpp", "scr"], ("tpp", "scr")), (None, ())])
def test_a_claim_has_one_metric_or_several_or_none(metric, found):
    assert metrics_of({"metric": metric}) == found


def test_the_configuration_is_the_papers_own():
    assert [PUBLISHED.model_of(model) for model in SHOWN.models] == ["Pythia", "Gemma"]
    assert PUBLISHED.why_not_comparable(PYTHIA, MATRYOSHKA, SHOWN) is None
    assert PUBLISHED.why_not_comparable(GEMMA, MATRYOSHKA, SHOWN) is None


def test_a_local_copy_of_the_papers_model_is_that_model():
    copy = replace(GEMMA, hub=None, path="/models/gemma-2-2b")
    assert PUBLISHED.model_of(copy) == "Gemma"
    assert PUBLISHED.model_of(replace(copy, path="results/demo/world/gemma-2")) is None
    assert PUBLISHED.model_of(replace(copy, layer=13)) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda config: config["training"].update(dict_size=16384), "dict_size 16384 and not 4096"),
        (lambda config: config["training"].update(tokens=100_000_000), "tokens 100000000 and not 500000000"),
        (lambda config: config.update(mask="_"), "mask _ and not ..."),
        (
            lambda config: config["saebench"]["data"].update(source="stand-in"),
            "saebench.data.source stand-in and not hub",
        ),
        (
            lambda config: config["saebench"]["sparse_probing"].update(probe_train_set_size=120),
            "saebench.sparse_probing.probe_train_set_size 120 and not 4000",
        ),
        (lambda config: config["saebench"]["core"].update(dataset="c4"), "saebench.core.dataset c4 and not Skylion007"),
        (
            lambda config: config["saebench"]["sparse_probing"].update(dataset_names=["fancyzhx/ag_news"]),
            "other saebench.sparse_probing.dataset_names",
        ),
        (
            lambda config: config["saebench"]["scr_and_tpp"]["class_pairs"]["LabHC/bias_in_bios_class_set1"].pop(),
            "other saebench.scr_and_tpp.class_pairs.LabHC/bias_in_bios_class_set1",
        ),
        (lambda config: config["ood"].update(k=32), "ood.k 32 and not 128"),
        (lambda config: config["training"].update(batch=4096), "training.batch 4096 and not 2048"),
        (lambda config: config["training"].update(normalise=False), "training.normalise false and not true"),
        (lambda config: config["training"].update(shuffle_tokens=10**6), "training.shuffle_tokens 1000000 and not 25"),
        (lambda config: config["training"].update(max_norm_multiple=10), "training.max_norm_multiple 10 and not null"),
        (lambda config: config["tokens"].update(context_length=512), "tokens.context_length 512 and not 1024"),
        (lambda config: recipe_of(config).update(lr=1e-3), "trainer_settings.lr 0.001 and not 0.0003"),
        (lambda config: recipe_of(config).update(warmup_steps=10), "trainer_settings.warmup_steps 10 and not 1000"),
        (lambda config: recipe_of(config).update(decay_start=0.9), "trainer_settings.decay_start 0.9 and not 0.8"),
        (lambda config: recipe_of(config).update(group_fractions=[0.5, 0.5]), "other trainer_settings.group_fractions"),
        (lambda config: config["models"][0].update(dtype="bfloat16"), "models.dtype bfloat16 and not float32"),
        (lambda config: config["models"][0].update(bos=True), "models.bos true and not false"),
        (lambda config: config["models"][0].update(tf32=True), "models.tf32 true and not false"),
        (lambda config: config["corpus"].update(filter=None), "other corpus.filter"),
        (
            lambda config: config["corpus"].update(dataset="allenai/c4", filter=None),
            "corpus.dataset allenai/c4 and not monology/pile-uncopyrighted, other corpus.filter",
        ),
        (
            lambda config: config["corpus"].update(dataset=None, split=None, filter=None, files=[__file__]),
            "corpus.dataset null and not monology/pile-uncopyrighted",
        ),
        (lambda config: config["ood"].update(rows=1400), "ood.rows 1400 and not 1500"),
        (lambda config: config["models"][0].update(layer=7), "is none of the paper's"),
        (lambda config: config["models"][0].update(hub="EleutherAI/pythia-160m"), "is none of the paper's"),
    ],
)
def test_another_experiment_is_not_the_papers_whatever_its_name(change, why):
    shown = shown_with(change)
    assert shown.run == "paper"
    assert why in PUBLISHED.why_not_comparable(shown.models[0], shown.trainers[0], shown)


def recipe_of(config: dict) -> dict:
    return config["trainer_settings"]["matryoshka_batch_topk"]


def shown_with(change):
    """What the paper's configuration shows with this change."""
    config = deepcopy(PAPER)
    change(config)
    return shown_of(config)


@pytest.mark.parametrize("shown", [shown_of(DEMO), shown_of(PAPER, demo=True)])
def test_a_demo_is_not_the_papers_whatever_its_name(shown):
    why = "language models that the workflow trained itself"
    assert {PUBLISHED.why_not_comparable(model, shown.trainers[0], shown) for model in shown.models} == {why}


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.update(report={"explained_variance": "centred", "n": 10, "k": 5, "convergence": []}),
        lambda config: config["saebench"]["absorption"].update(bos=None),
        lambda config: config["saebench"].update(seed=1),
        lambda config: config["saebench"]["data"].update(revisions=[{"dataset": "fancyzhx/ag_news", "revision": "e"}]),
        lambda config: config["ood"].update(seed=2, bootstrap=10, bos=False),
        lambda config: config["models"][0].update(bos=False, lm_batch=8, revision="main"),  # Pythia's has no BOS anyway
        lambda config: config["corpus"].update(dataset="timaeus/pile-pile-cc", filter=None),
        lambda config: config["corpus"].update(revision="main"),
        lambda config: config["tokens"].update(separator="none", heldout_contexts=8, repeat=True),
        lambda config: config["training"].update(step="fast"),
        lambda config: config.update(seeds=[3]),
    ],
)
def test_what_the_paper_leaves_open_makes_no_other_experiment(change):
    shown = shown_with(change)
    assert PUBLISHED.why_not_comparable(shown.models[0], shown.trainers[0], shown) is None


def test_only_this_is_not_compared():
    """What paper and recipe leave open, seeds, what is asked for beside what a table shows, what changes results by
    rounding at most (the step), and what saves time or memory."""

    def left_out(ours: dict, paper: dict, prefix: str = "") -> set[str]:
        found = {f"{prefix}{key}" for key in ours.keys() - paper.keys()}
        inner = [key for key in ours.keys() & paper.keys() if isinstance(ours[key], dict)]
        return found.union(*(left_out(ours[key], paper[key], f"{prefix}{key}.") for key in inner))

    given = deepcopy(PAPER)
    check(given)  # which fills in what the file leaves open
    settings = {key: given[key] for key in ("training", "tokens", "saebench", "ood")}
    settings["trainer_settings"] = recipe_of(given)
    settings |= {"corpus": given["corpus"], "models": given["models"][0]}
    paper = PUBLISHED.experiment["settings"] | {"corpus": PUBLISHED.experiment["corpora"][0]}
    pythia = PUBLISHED.experiment["models"]["Pythia"]
    assert left_out(settings, paper | {"models": pythia | pythia["reading"]}) == {
        *("models.name", "models.path", "models.revision", "models.lm_batch", "models.gflop"),
        "models.planted",  # a planted truth has none of the paper's names and layers
        *("corpus.subset", "corpus.revision", "corpus.files", "corpus.text_field"),
        *("tokens.separator", "tokens.heldout_contexts", "tokens.repeat"),
        *("training.dict_size", "training.step"),  # dict_size: that of the trainer is compared
        *("saebench.seed", "saebench.data.revisions", "saebench.evals"),  # tables ask for all evals
        *("saebench.absorption.bos", "saebench.absorption.eval_k_sparse_probe_batch_size"),
        *("saebench.absorption.precalc_k_sparse_probe_sae_acts", "saebench.sparse_probing.k_values"),
        *("saebench.sparse_probing.sae_batch_size", "saebench.scr_and_tpp.sae_batch_size"),
        *("saebench.scr_and_tpp.n_values", "saebench.scr_and_tpp.ties"),
        *("ood.split_seed", "ood.seed", "ood.bootstrap", "ood.bos", "ood.ks", "ood.same_rows", "ood.drop_seen"),
    }
    assert left_out(PUBLISHED.experiment["settings"], settings | {"mask": "", "trainer": "", "dict_size": 0}) == set()


def test_another_trainer_is_not_the_papers():
    topk = checked(PAPER).trainer_settings["topk"]
    assert PUBLISHED.why_not_comparable(PYTHIA, topk, SHOWN) == "trainer topk and not matryoshka_batch_topk"
    wide = replace(MATRYOSHKA, dict_size=16384)
    assert PUBLISHED.why_not_comparable(PYTHIA, wide, SHOWN) == "dict_size 16384 and not 4096"


def test_a_trainers_name_makes_no_difference():
    assert PUBLISHED.why_not_comparable(PYTHIA, replace(MATRYOSHKA, name="mine"), SHOWN) is None


def test_a_run_lists_what_differs_once_and_says_whose_it_is():
    assert PUBLISHED.departures_of_run(SHOWN) == []
    assert PUBLISHED.departures_of_run(shown_of(DEMO)) == ["language models that the workflow trained itself"]

    def change(config):
        config["training"].update(batch=4096)
        config["models"][1].update(layer=13)

    assert PUBLISHED.departures_of_run(shown_with(change)) == [
        "training.batch 4096 and not 2048 (pythia-160m-deduped)",
        "model gemma-2-2b (layer 13) is none of the paper's (gemma-2-2b)",
    ]
    shown = shown_with(lambda config: config.update(trainers=["matryoshka_batch_topk", "topk"], mask="_"))
    assert PUBLISHED.departures_of_run(shown) == [
        "mask _ and not ...",
        "trainer topk and not matryoshka_batch_topk (pythia-160m-deduped, topk; gemma-2-2b, topk)",
    ]


def test_all_its_files_are_inputs_of_the_tables():
    assert set(FILES) == {path.name for path in (ROOT / "reference").iterdir()} - {"README.md", "paper.txt"}
