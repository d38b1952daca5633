"""Contrasts and decisions, from scores whose truth one knows; also how often they are wrong, in simulated runs."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from math import log

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from maskedsae.inference.arms import arm_of
from maskedsae.inference.contrasts import CONTRASTS, contrasts, read_contrasts, write_contrasts
from maskedsae.inference.decisions import (
    ADDS,
    BETTER,
    EQUAL,
    HARMS,
    NO_GAIN,
    NOT_HERE,
    SUFFICES,
    UNDECIDED,
    WORSE,
    assays,
    decide,
)
from maskedsae.inference.questions import Question, Term
from maskedsae.inference.settings import Shown
from maskedsae.inference.statistics import estimate, holm, seeds_needed
from maskedsae.jobs.errors import InputError
from maskedsae.scores.metrics import ACHIEVED_L0, SCORED_L0
from maskedsae.scores.table import Row, Scores
from reported import PAPER, shown_of

MODEL = "pythia-160m-deduped"
MATRYOSHKA, BATCH, TOPK = "matryoshka_batch_topk", "batch_topk", "topk"
KEY = "absorption.mean_full_absorption_score"
STREAMS = [
    {"name": "clean"},
    {"name": "mask30", "p": 0.3},
    {"name": "budget30", "corruption": {"kind": "mask", "p": 0.3}, "context": "clean"},
    {"name": "context30", "corruption": {"kind": "mask", "p": 0.3}, "rows": "untouched"},
    {"name": "fewer30", "corruption": {"kind": "mask", "p": 0.3}, "context": "clean", "rows": "untouched"},
]
FREED = {"mask30": 1.4, "budget30": 1.4}  # l0 on clean text over the nominal one
MARGIN = 0.79

# A score in percent, from (stream, trainer, l0 on clean text).
Truth = Callable[[str, str, float], float]


def study(seeds: int = 8, streams: list[dict] = STREAMS, **analysis) -> Shown:
    """The five arms at l0 20; the baseline also at 40 (for the assay) and at two l0s between."""
    config = deepcopy(PAPER)
    config |= {"streams": streams, "seeds": list(range(seeds)), "tables": [], "l0": [20, 40]}
    config["models"] = config["models"][:1]
    config["trainers"] = [MATRYOSHKA, BATCH, TOPK]
    given = {"arms": [stream["name"] for stream in STREAMS[1:]], "baseline_l0": [25, 30]}
    config["analysis"] |= (
        given | {"endpoints": {"absorption": config["analysis"]["endpoints"]["absorption"]}} | analysis
    )
    return shown_of(config)


def sparsity(stream: str, trainer: str, l0: float) -> float:
    """Better with every latent, whatever the rows; Matryoshka SAEs are better by 10 points."""
    return 50 + 10 * log(l0) + 10 * (trainer == MATRYOSHKA)


def scores_of(
    shown: Shown, truth: Truth, noise: float = 0.3, world: int = 0, freed: dict[str, float] = FREED, also: str = ""
) -> Scores:
    """Each data seed shifts all its SAEs together by a point (sd), and each SAE alone by `noise`."""
    random = np.random.default_rng(world)
    together = random.normal(size=len(shown.seeds))
    rows = []
    for trainer in shown.trainers:
        for stream in shown.streams:
            for l0 in shown.compared_l0s(MODEL, stream):
                more = freed.get(stream.name, 1) if trainer.shares_latents else 1
                for seed in shown.seeds:
                    achieved = l0 * more * (1 + 0.01 * random.uniform())
                    score = truth(stream.name, trainer.name, achieved) + together[seed] + noise * random.normal()
                    about = (shown.run, MODEL, stream.name, stream.p, trainer.name, l0, seed)
                    values = {KEY: 1 - score / 100, ACHIEVED_L0: achieved, SCORED_L0["absorption"]: 0.8 * achieved}
                    values |= {also: 0.5, SCORED_L0["TPP"]: achieved} if also else {}
                    rows += [Row(*about, key, value, "x") for key, value in values.items()]
    return Scores(rows)


def found(shown: Shown, truth: Truth, trainer: str = MATRYOSHKA, question: str = "mask30@20 - clean@20", **kwargs):
    """{contrast: row} and the decision of one question."""
    scores = scores_of(shown, truth, **kwargs)
    rows = contrasts(shown, scores)
    decisions = decide(shown, rows, assays(shown, scores))
    (decision,) = [d for d in decisions if (d.trainer, d.question) == (trainer, question)]
    return {row.contrast: row for row in rows if (row.trainer, row.question) == (trainer, question)}, decision


def test_the_estimates_are_scipys():
    differences = [0.3, -0.2, 1.1, 0.4, 0.9]
    ours, theirs = estimate(differences), ttest_1samp(differences, 0)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert ours.effect == pytest.approx(np.mean(differences) / np.std(differences, ddof=1))
    one_sided = [
        ttest_1samp(differences, -0.9, alternative="greater").pvalue,
        ttest_1samp(differences, 0.9, alternative="less").pvalue,
    ]
    assert ours.equivalence_p(0.9) == pytest.approx(max(one_sided))


def test_holm_on_its_textbook_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_seeds_needed_have_the_power_that_they_promise():
    random, n = np.random.default_rng(0), seeds_needed(sd=1.5, difference=1)
    samples = random.normal(1, 1.5, size=(4000, n))
    assert np.mean(ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.03)
    fewer = random.normal(1, 1.5, size=(4000, n - 2))
    assert np.mean(ttest_1samp(fewer, 0, axis=1).pvalue < 0.05) < 0.8


def test_the_contrasts_take_a_difference_apart():
    """Worked out by hand: the budget gives 10 log 1.4 = 3.36 points, a masked context 2 of its own."""

    def truth(stream: str, trainer: str, l0: float) -> float:
        return sparsity(stream, trainer, l0) + 2 * (stream in ("mask30", "context30"))

    rows, _ = found(study(40), truth)
    expected = {"nominal": 5.36, "budget": 3.36, "context": 2, "beyond_budget": 2, "matched": 2, "rest": 0}
    expected |= {"matched_there": 2, "control": 2, "less_control": 3.36}
    assert list(rows) == list(CONTRASTS)
    for name, points in expected.items():
        assert rows[name].low < points < rows[name].high, name
        assert rows[name].mean == pytest.approx(points, abs=0.25), name
    assert rows["nominal"].mean == pytest.approx(
        sum(rows[name].mean for name in ("budget", "context", "rest")), abs=1e-6
    )


def test_what_a_data_seed_does_to_all_its_saes_does_not_count():
    """Pairing: seeds differ by a point (sd), and the differences by 0.3 x sqrt(2)."""
    rows, _ = found(study(40), sparsity)
    assert rows["nominal"].sd == pytest.approx(0.42, abs=0.12)
    assert rows["matched"].sd > rows["nominal"].sd / 2  # the curve's own error is in it


def test_initial_weights_that_share_a_stream_are_one_data_seed():
    shown = study(12)
    pairs = tuple((seed, seed + 1) for seed in range(0, 12, 2))
    rows, _ = found(replace(shown, seed_groups=pairs), sparsity)
    assert rows["nominal"].n == 6


@pytest.mark.parametrize(
    ("extra", "verdict", "nominal"), [(0, SUFFICES, BETTER), (3, ADDS, BETTER), (-6, HARMS, WORSE)]
)
def test_the_verdict_is_about_what_masking_adds(extra: float, verdict: str, nominal: str):
    def truth(stream: str, trainer: str, l0: float) -> float:
        return sparsity(stream, trainer, l0) + extra * (stream in ("mask30", "context30"))

    _, decision = found(study(12), truth)
    assert (decision.verdict, decision.nominal) == (verdict, nominal)
    assert set(decision.by.values()) == {verdict} if extra else decision.by["matched"] == SUFFICES


def test_where_nothing_differs_there_is_no_gain():
    _, decision = found(study(12), sparsity, trainer=TOPK)
    assert (decision.verdict, decision.nominal) == (NO_GAIN, EQUAL)


def test_nothing_is_judged_on_few_data_seeds():
    _, decision = found(study(5), lambda *_: 50 + 20 * (_[0] == "mask30"))
    assert (decision.verdict, decision.nominal) == (UNDECIDED, UNDECIDED)
    assert decision.why == "5 data seeds, and a verdict needs 6"
    _, single = found(study(1), sparsity)
    assert single.why == "1 data seed, and a verdict needs 6"


def test_a_run_that_does_not_show_what_is_known_decides_nothing():
    """Here l0 makes no difference, and absorption is known to be less at a larger one."""
    _, decision = found(study(), lambda stream, trainer, l0: 60 + 10 * (trainer == MATRYOSHKA))
    assert decision.verdict == NOT_HERE
    assert decision.why.startswith(
        "the run does not show what is known: clean@40 (matryoshka_batch_topk) - clean@20 (matryoshka_batch_topk)"
    )
    assert set(decision.by.values()) == {NOT_HERE}


def test_an_assay_that_cannot_be_made_is_not_passed():
    shown = study()
    alone = replace(shown, trainers=shown.trainers[:1])
    failed = [assay for assay in assays(alone, scores_of(alone, sparsity)) if not assay.passed]
    assert [(assay.what, assay.why) for assay in failed] == [
        ("two trainers", "this run does not have both trainers of analysis.assay")
    ]


def test_nothing_is_extrapolated():
    """An l0 of 28 where the baseline ends at 25."""
    rows, decision = found(study(l0=[20], baseline_l0=[25]), sparsity)
    assert rows["matched"].n == 0
    assert "is beyond the baseline's (20." in rows["matched"].missing
    assert rows["matched"].missing.endswith("): add to analysis.baseline_l0")
    assert "matched" not in decision.by


def test_a_missing_arm_is_said_and_leaves_the_rest():
    rows, _ = found(study(arms=["mask30", "budget30"]), sparsity)
    missing = {name: row.missing for name, row in rows.items() if row.missing}
    assert set(missing) == {"context", "rest"}
    assert missing["context"] == "this run has no SAE of context30 at l0 20"


def test_a_score_that_was_asked_for_and_is_not_there_is_an_error():
    shown = study()
    rows = [row for row in scores_of(shown, sparsity)._rows.values() if (row.stream, row.metric) != ("fewer30", KEY)]
    with pytest.raises(InputError, match=r"no absorption.*/fewer30/.*/l0_20/seed_0/scores/absorption.json"):
        contrasts(shown, Scores(rows))


def test_the_table_is_read_back_as_it_was_written(tmp_path):
    shown = study(arms=["mask30", "budget30"])
    rows = contrasts(shown, scores_of(shown, sparsity))
    write_contrasts(tmp_path / "contrasts.csv", rows)
    assert list(map(repr, read_contrasts(tmp_path / "contrasts.csv"))) == list(map(repr, rows))  # nan is not nan


def test_the_arms_are_told_by_what_they_are_and_not_by_their_names():
    assert [arm_of(stream) for stream in study().streams] == [None, "paper", "budget", "context", "fewer"]


def test_an_l0_just_beyond_the_curves_end_is_its_end_and_no_further():
    """The baseline ends at 25, and the masked SAE has 25.2 or 25.6."""
    for l0, known in ((25.2, True), (25.6, False)):
        shown = study(l0=[20], baseline_l0=[25])
        scores = scores_of(shown, sparsity)
        at = {"clean": (20.0, 25.0), "mask30": (l0,)}
        rows = []
        for row in scores._rows.values():
            fixed = {20: at.get(row.stream, (20.0,))[0], 25: 25.0}[row.l0]
            rows.append(replace(row, value=fixed) if row.metric == ACHIEVED_L0 else row)
        found = [row for row in contrasts(shown, Scores(rows)) if (row.contrast, row.trainer) == ("matched", BATCH)]
        assert [bool(row.n) for row in found] == [known]


def test_nothing_is_interpolated_over_a_wide_gap():
    """From 20 to 40, an l0 of 28 has nothing near; a bent curve would make masking look better than it is."""
    rows, _ = found(study(baseline_l0=[]), sparsity)
    assert rows["matched"].missing.endswith(", which are too far apart: add to analysis.baseline_l0")


def bent(stream: str, trainer: str, l0: float) -> float:
    """Absorption of the paper's unmasked SAEs, about: its gain halves as l0 doubles."""
    return 97.4 - 11.3 * 20 / l0 - 5 * (trainer != MATRYOSHKA)


def test_a_bent_curve_hardly_matters_between_close_l0s():
    """The straight line from 25 to 30 lies 0.05 points below the curve, a fifteenth of the margin."""
    rows, _ = found(study(40), bent)
    assert rows["matched"].low < 0.06
    assert abs(rows["matched"].mean) < 0.2


def test_arms_that_are_not_equally_sparse_are_no_evidence():
    """Here the budget arm frees a third of what the paper's does."""
    shown, freed = study(12), FREED | {"budget30": 1.1}
    scores = scores_of(shown, sparsity, freed=freed)
    rows = contrasts(shown, scores)
    (decision,) = [
        d for d in decide(shown, rows, assays(shown, scores)) if (d.trainer, d.question[:9]) == (BATCH, "mask30@20")
    ]
    assert (decision.by["beyond_budget"], decision.by["matched"]) == (UNDECIDED, SUFFICES)


def test_of_a_score_of_which_nothing_is_known_no_verdict_says_that_nothing_differs():
    free = {"absorption": {"margin": MARGIN, "l0": None, "trainer": None}}
    _, decision = found(study(12, endpoints=free), lambda *_: 50.0)
    assert (decision.verdict, decision.nominal) == (UNDECIDED, UNDECIDED)


@pytest.mark.parametrize(("known", "passed"), [("better", True), ("worse", False)])
def test_an_assay_has_a_direction(known: str, passed: bool):
    shown = study(endpoints={"absorption": {"margin": MARGIN, "l0": known, "trainer": None}})
    assert {assay.passed for assay in assays(shown, scores_of(shown, sparsity))} == {passed}


def test_each_trainer_has_an_assay_of_its_own():
    """Under TopK nothing moves with l0 here, so nothing is said of TopK, nor by it."""

    def truth(stream: str, trainer: str, l0: float) -> float:
        return 50.0 if trainer == TOPK else sparsity(stream, trainer, l0)

    _, decision = found(study(12), truth, trainer=TOPK)
    assert decision.verdict == NOT_HERE
    _, of_batch = found(study(12), truth, trainer=BATCH)
    assert (of_batch.verdict, of_batch.by["control"]) == (SUFFICES, UNDECIDED)


def test_families_are_of_declared_questions_control_streams_and_claims():
    config_streams = [*STREAMS, {"name": "del30", "corruption": {"kind": "delete", "p": 0.3}}]
    shown = study(arms=[stream["name"] for stream in config_streams[1:]], streams=config_streams)
    extra = [
        Question(MODEL, MATRYOSHKA, name, (Term(1, "mask30", 40), Term(-1, "mask30", 20)))
        for name in ("absorption", "tpp")
    ]
    scores = scores_of(shown, sparsity, also="tpp.tpp_threshold_20_total_metric")
    rows = contrasts(shown, scores, extra)
    sizes = {(row.family, row.tests) for row in rows if (row.contrast, row.trainer) == ("nominal", MATRYOSHKA)}
    assert sizes == {("masks", 2), ("control streams", 2), ("claims", 1), ("", 0)}


WORLDS = 1000
EVIDENCE_OF_ONE_TRAINER = ("matched", "beyond_budget", "context")


def verdicts_in(truth: Truth) -> dict[str, Counter]:
    """{evidence: verdicts} in many simulated runs of 6 data seeds, on Matryoshka SAEs; of two questions, at l0 20 and
    40, since the rate is promised for the family."""
    shown = study(6, control=None, baseline_l0=[25, 30, 48, 60])
    known = [replace(assay, passed=True) for assay in assays(shown, scores_of(shown, sparsity))]
    shown = replace(shown, trainers=shown.trainers[:1])
    counts: dict[str, Counter] = {name: Counter() for name in EVIDENCE_OF_ONE_TRAINER}
    for world in range(WORLDS):
        decisions = decide(shown, contrasts(shown, scores_of(shown, truth, noise=0.8, world=world)), known)
        for name, count in counts.items():
            count.update({decision.by[name] for decision in decisions})  # of both questions, each verdict once
    return counts


def most(rate: float) -> float:
    """Two standard errors above."""
    return WORLDS * rate + 2 * (WORLDS * rate * (1 - rate)) ** 0.5


@pytest.mark.parametrize("truth", [sparsity, bent])
def test_verdicts_on_planted_nulls_are_false_at_most_at_the_stated_rate(truth: Truth):
    """Where only sparsity helps, masking is said to add or to harm, in any question, in at most 5% of runs."""
    for name, counts in verdicts_in(truth).items():
        assert counts[ADDS] + counts[HARMS] <= most(0.05), name


def test_that_sparsity_suffices_is_false_at_most_at_the_stated_rate():
    """Masking adds as much as the margin: then "sparsity suffices" is false."""

    def truth(stream: str, trainer: str, l0: float) -> float:
        return sparsity(stream, trainer, l0) + MARGIN * (stream in ("mask30", "context30"))

    for name, counts in verdicts_in(truth).items():
        assert counts[SUFFICES] + counts[NO_GAIN] <= most(0.05), name


def test_a_large_addition_is_found():
    def truth(stream: str, trainer: str, l0: float) -> float:
        return sparsity(stream, trainer, l0) + 5 * (stream in ("mask30", "context30"))

    for name, counts in verdicts_in(truth).items():
        assert counts[ADDS] > 0.95 * WORLDS, name
