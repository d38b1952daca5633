"""The paper's tables on hand-made scores: order, scale, rounding, bold, seeds, the paper's numbers beside ours."""

import csv
import io

import pytest

from maskedsae.jobs.errors import InputError
from maskedsae.report.tables import Table, make_tables
from maskedsae.report.writers import to_csv, to_latex, to_markdown
from maskedsae.scores.table import Scores
from reported import PAPER, shown_of
from scored import BESIDE, KEYS, PUBLISHED, paper_with, plain, rows_of, table_of, tables_of

L0S = (20, 40, 80, 160)
HEADS = tuple(f"l0 = {l0}" for l0 in L0S)
LABELS = ["Mean Full Absorption", "Explained Variance", "Sparse Probing", "TPP", "SCR"]
OURS = ["Absorption Fraction", "Split Features", "Best Single Latent"]


def only(metric: str, values: dict[float, float]):
    """One metric's values by p, at every l0; the others as plain."""
    return lambda model, p, l0, seed, key: values.get(p, 0.1) if key == metric else plain(model, p, l0, seed, key)


def line(table: Table, metric: str, method: str = "w/ Masking"):
    return next(line for line in table.lines if (line.metric, line.method) == (metric, method))


# The layout.


def test_tables_1_and_2_have_the_papers_rows_in_its_order():
    for name, model in (("table1", "pythia-160m-deduped"), ("table2", "gemma-2-2b")):
        table = table_of(plain, name)
        assert (table.model, table.by, table.columns, table.seeds) == (model, "l0", HEADS, 1)
        assert [(row.label, row.method) for row in table.block("paper")] == [
            (label, method) for label in LABELS for method in ("w/o Masking", "w/ Masking")
        ]
        assert [row.label for row in table.block("further")[::2]] == OURS
        assert [row.method for row in table.block("sparsity")] == ["w/o Masking", "w/ Masking"]
        assert [[(entry.stream.name, entry.l0) for entry in row.entries] for row in table.block("paper")[:2]] == [
            [(stream, l0) for l0 in L0S] for stream in ("clean", "mask30")
        ]


def test_table_3_has_the_papers_two_metrics_and_then_the_others():
    table = table_of(plain, "table3")
    assert (table.by, table.columns) == ("stream", ("p = 0", "p = 0.2", "p = 0.3", "p = 0.5"))
    assert [row.label for row in table.block("paper")] == LABELS[:2]
    assert [row.label for row in table.block("further")] == OURS + LABELS[2:]
    assert {entry.l0 for row in table.lines for entry in row.entries} == {20}
    assert [entry.printed for entry in table.block("sparsity")[0].entries] == ["20.0", "25.0", "28.6", "40.0"]


def test_each_number_stands_where_it_belongs():
    """Any two cells of the grid differ."""
    p_of = {"clean": 0, "mask20": 0.2, "mask30": 0.3, "mask50": 0.5}
    for entry in PAPER["tables"]:
        (table,) = tables_of(plain)[entry["name"]]
        rows = table.block("paper") + table.block("further")
        places = [(row.label, each.stream.name, each.l0) for row in rows for each in row.entries]
        assert len(set(places)) == len(places) == 8 * len(entry["streams"]) * len(entry["l0"] or L0S)
        for row in rows:
            for each in row.entries:
                key = (KEYS + BESIDE)[(LABELS + OURS).index(row.label)]
                share = plain(entry["model"], p_of[each.stream.name], each.l0, 0, key)
                expected = 100 * (1 - share) if row.metric.startswith("absorption") else 100 * share
                expected = share if row.metric == "split_features" else expected
                assert each.mean == pytest.approx(expected), (entry["name"], row.label, each)


def test_several_trainers_have_a_table_each():
    config = paper_with(trainers=["matryoshka_batch_topk", "topk"])
    first, second = tables_of(plain, config)["table1"]
    assert (first.trainer, second.trainer) == ("matryoshka_batch_topk", "topk")
    assert (first.published, second.published) == ("table1", None)
    assert to_latex([first, second]).count(r"\begin{table}") == 2
    assert "trainer topk and not matryoshka_batch_topk" in to_markdown([second])


def test_several_masked_streams_say_which_they_are():
    config = paper_with(
        tables=[{"name": "own", "model": "gemma-2-2b", "streams": ["clean", "mask20", "mask50"], "l0": None}]
    )
    table = table_of(plain, "own", config)
    assert [row.method for row in table.block("paper")[:3]] == [
        "w/o Masking",
        "w/ Masking, p = 0.2",
        "w/ Masking, p = 0.5",
    ]
    assert table.block("equal_l0")[2].method == "w/o Masking at equal l0 (w/ Masking, p = 0.5)"


# Scale and rounding.


@pytest.mark.parametrize(
    ("share", "printed"),
    [(0.88475, "88.475"), (0.0100004, "1.000"), (1.0, "100.000"), (0.7217149, "72.171"), (0.7217151, "72.172")],
)
def test_percent_with_three_decimals(share, printed):
    table = table_of(only("tpp.tpp_threshold_20_total_metric", {0: 0, 0.3: share}))
    assert line(table, "tpp").entries[0].printed == printed


def test_absorption_is_what_is_not_absorbed():
    table = table_of(only("absorption.mean_full_absorption_score", {0: 0.13881, 0.3: 0.11525}))
    assert line(table, "absorption", "w/o Masking").entries[0].printed == "86.119"
    assert line(table, "absorption").entries[0].printed == "88.475"
    assert line(table, "absorption").entries[0].best


def test_negative_scores_keep_their_sign_and_zero_has_none():
    table = table_of(only("scr.scr_metric_threshold_20", {0: -0.25, 0.3: -0.000001}))
    assert line(table, "scr", "w/o Masking").entries[0].printed == "-25.000"
    assert line(table, "scr").entries[0].printed == "0.000"


@pytest.mark.parametrize(
    ("kind", "key", "n", "k"),
    [
        ("legacy", "core.explained_variance_legacy", 20, 1),
        ("saebench", "core.explained_variance", 10, 5),
        ("centred", "variance.centred", 500, 2),
    ],
)
def test_the_configuration_says_which_numbers(kind, key, n, k):
    config = paper_with(report={"explained_variance": kind, "n": n, "k": k, "convergence": []})
    scores = {
        "absorption.mean_full_absorption_score": 0.1,
        key: 0.2,
        f"sparse_probing.sae_top_{k}_test_accuracy": 0.3,
        f"tpp.tpp_threshold_{n}_total_metric": 0.4,
        f"scr.scr_metric_threshold_{n}": 0.5,
        "quality.l0": 20,
    }
    table = table_of(lambda model, p, l0, seed, key: scores.get(key, -1), config=config)
    assert [row.entries[0].printed for row in table.block("paper")[::2]] == [
        *("90.000", "20.000", "30.000", "40.000", "50.000")
    ]
    notes = " ".join(table.notes)
    assert f"Explained variance is {key};" in notes
    assert f"TPP and SCR with N = {n} latents, sparse probing with k = {k}." in notes


# Bold.


@pytest.mark.parametrize(
    ("without", "masked", "bold"),
    [
        (0.7, 0.8, (False, True)),
        (0.8, 0.7, (True, False)),
        (0.7, 0.7, (False, False)),
        (0.700001, 0.700002, (False, False)),  # equal in print
        (0.70000, 0.70001, (False, True)),
    ],
)
def test_the_better_of_a_pair_is_bold_and_neither_where_they_tie(without, masked, bold):
    table = table_of(only("core.explained_variance_legacy", {0: without, 0.3: masked}))
    shown = [line(table, "explained_variance", method).entries[0] for method in ("w/o Masking", "w/ Masking")]
    assert tuple(entry.best for entry in shown) == bold
    assert to_markdown([table]).count(f"**{shown[1].printed}**") == (len(L0S) if bold[1] else 0)
    assert to_latex([table]).count(rf"\textbf{{{shown[0].printed}}}") == (len(L0S) if bold[0] else 0)


@pytest.mark.parametrize(
    ("values", "bold"),
    [
        ({0: 0.1, 0.2: 0.2, 0.3: 0.4, 0.5: 0.3}, [False, False, True, False]),
        ({0: 0.1, 0.2: 0.4, 0.3: 0.4, 0.5: 0.3}, [False, True, True, False]),
        ({0: 0.4, 0.2: 0.4, 0.3: 0.4, 0.5: 0.4}, [False] * 4),
    ],
)
def test_where_columns_are_p_the_best_of_a_row_is_bold(values, bold):
    table = table_of(only("core.explained_variance_legacy", values), "table3")
    assert [entry.best for entry in table.block("paper")[1].entries] == bold


def test_what_is_alone_is_not_the_best():
    config = paper_with(tables=[{"name": "own", "model": "gemma-2-2b", "streams": ["mask30"], "l0": None}])
    table = table_of(plain, "own", config)
    assert not any(entry.best for row in table.lines for entry in row.entries)
    assert table.block("equal_l0") == []


def test_of_a_count_the_smallest_is_bold_and_it_has_no_gain():
    table = table_of(only("absorption.mean_num_split_features", {0: 1.25, 0.3: 1.5}))
    shown = [line(table, "split_features", method).entries[0] for method in ("w/o Masking", "w/ Masking")]
    assert [(entry.printed, entry.best) for entry in shown] == [("1.250", True), ("1.500", False)]
    compared = dict.fromkeys(row.label for row in table.block("equal_l0"))
    assert list(compared) == [LABELS[0], OURS[0], OURS[2], *LABELS[1:]]


# Seeds.


def test_mean_and_standard_deviation_over_seeds():
    scores = {0: 0.70, 1: 0.71, 2: 0.75}

    def number(model, p, l0, seed, key):
        return scores[seed] if key == "sparse_probing.sae_top_1_test_accuracy" else plain(model, p, l0, seed, key)

    table = table_of(number, config=paper_with(seeds=[0, 1, 2]))
    entry = line(table, "sparse_probing").entries[0]
    # Of 70, 71, 75: mean 72, squares of differences 4 + 1 + 9, over n - 1.
    assert (entry.printed, entry.printed_sd, len(entry.values)) == ("72.000", "2.646", 3)
    assert "| 72.000 ± 2.646 |" in to_markdown([table])
    assert r"72.000{\scriptsize$\,\pm\,$2.646}" in to_latex([table])
    assert "Mean ± standard deviation over n = 3 seeds." in table.notes
    assert {str(len(entry.values)) for row in table.lines for entry in row.entries if entry.values} == {"3"}


def test_of_one_seed_no_spread_is_given():
    table = table_of(plain)
    assert line(table, "tpp").entries[0].sd is None
    assert "±" not in to_markdown([table])
    assert any(note.startswith("n = 1 SAE for each number") for note in table.notes)


# At equal l0.


def test_the_unmasked_score_at_the_masked_ones_l0_is_linear_in_log_l0():
    """With scores that are linear in log l0, exactly theirs; at l0 = 160, 229 lies beyond all unmasked SAEs."""
    table = table_of(plain)
    at_equal_l0, gain = (row for row in table.block("equal_l0") if row.metric == "tpp")
    assert (at_equal_l0.method, gain.method) == ("w/o Masking at equal l0", "gain over that")
    for entry, of_gain, l0 in zip(at_equal_l0.entries[:3], gain.entries, L0S, strict=False):
        assert entry.mean == pytest.approx(100 * plain(table.model, 0, l0 / 0.7, 0, KEYS[3]))
        assert of_gain.mean == pytest.approx(100 * plain(table.model, 0.3, l0, 0, KEYS[3]) - entry.mean)
    assert at_equal_l0.entries[3].values == gain.entries[3].values == ()
    assert to_markdown([table]).count("| — |") == to_latex([table]).count("& --- ") == 2 * 7


def test_between_its_neighbours_it_is_interpolated_by_hand():
    """l0 30 lies at log(30 / 20) / log(2) = 0.585 between 20 and 40, with absorption 0.3 and 0.1: 0.183."""

    def number(model, p, l0, seed, key):
        if key == "quality.l0":
            return 30 if (p, l0) == (0.3, 20) else l0
        return {20: 0.3, 40: 0.1}.get(l0, 0.05) if key == KEYS[0] and p == 0 else 0.2

    entries = [row.entries[0] for row in table_of(number).block("equal_l0") if row.metric == "absorption"]
    assert [entry.printed for entry in entries] == ["81.699", "-1.699"]
    assert "| \u22121.699 |" in to_markdown([table_of(number)])


@pytest.mark.parametrize(("l0", "known"), [(19.999, False), (20, True), (160, True), (160.001, False)])
def test_it_is_known_at_the_ends_and_not_beyond(l0, known):
    def number(model, p, nominal, seed, key):
        return (l0 if p == 0.3 else nominal) if key == "quality.l0" else 0.5

    table = table_of(number)
    assert {bool(entry.values) for row in table.block("equal_l0") for entry in row.entries} == {known}


def test_without_an_active_latent_nothing_is_known():
    table = table_of(only("quality.l0", {0: 0, 0.3: 0}))
    assert {entry.values for row in table.block("equal_l0") for entry in row.entries} == {()}


def test_with_seeds_each_is_compared_with_its_own_and_one_beyond_makes_it_unknown():
    def number(model, p, l0, seed, key):
        if key == "quality.l0":
            return l0 * (1 if p == 0 else 1.2 if (seed, l0) != (1, 160) else 0.9)
        return 0.5 + 0.1 * seed + (0.01 if p else 0) if key == KEYS[2] else 0.5

    gain = next(
        row
        for row in table_of(number, config=paper_with(seeds=[0, 1])).block("equal_l0")
        if row.metric == "sparse_probing" and row.signed
    )
    assert [entry.printed for entry in gain.entries] == ["1.000", "1.000", "1.000", ""]
    assert gain.entries[0].printed_sd == "0.000"


def test_table_3_uses_every_unmasked_sae_of_the_model_and_compares_none_with_itself():
    """Its own l0 is 20 alone; Table 1 has the others."""
    table = table_of(plain, "table3")
    at_equal_l0 = table.block("equal_l0")[0]
    assert [bool(entry.values) for entry in at_equal_l0.entries] == [False, True, True, True]
    assert to_markdown([table]).count("| — |") == 0
    alone = paper_with(tables=PAPER["tables"][2:])
    assert [bool(entry.values) for entry in table_of(plain, "table3", alone).block("equal_l0")[0].entries] == [
        False
    ] * 4


# The paper's numbers beside ours.


def test_the_papers_configuration_has_the_papers_numbers_and_the_difference():
    table = table_of(only("scr.scr_metric_threshold_20", {0: 0.2, 0.3: 0.3}))
    entry = line(table, "scr").entries[1]
    assert (entry.published, round(entry.difference, 3)) == ("25.01", 4.99)
    assert "| *25.01 (+4.990)* |" in to_markdown([table])
    row = next(row for row in csv.DictReader(io.StringIO(to_csv([table]))) if row["published"] == "25.01")
    assert (row["printed"], row["difference"], row["bold"]) == ("30.000", "4.990", "1")
    third = tables_of(plain)["table3"][0]
    assert [entry.published for entry in third.block("paper")[1].entries] == ["72.171", "71.860", "71.270", "69.540"]
    assert all(entry.published is None for row in third.block("further") for entry in row.entries)


def test_the_papers_experiment_is_it_under_any_name_and_another_is_not():
    """Names prove nothing: a demo that calls itself `paper` is not compared."""
    assert table_of(plain, config=paper_with(run="mine")).published == "table1"
    demo = table_of(plain, demo=True)
    assert demo.published is None
    assert all(entry.published is None for row in demo.lines for entry in row.entries)


def test_an_l0_that_the_paper_has_not_stands_alone():
    config = paper_with(l0=[20, 30])
    entries = line(table_of(plain, config=config), "tpp").entries
    assert [entry.published for entry in entries] == ["12.430", None]


def test_a_table_none_of_whose_cells_the_paper_has_does_not_name_its_table():
    table = table_of(plain, config=paper_with(l0=[10, 30], tables=PAPER["tables"][:1]))
    assert table.published is None
    assert not any("as published" in note for note in table.notes)
    assert "Not comparable with the paper's numbers: the paper has none of these cells." in table.notes


def test_the_papers_open_choices_are_said_to_be_open():
    assert any("The paper leaves open which explained variance, N and k" in note for note in table_of(plain).notes)


def test_columns_stand_from_the_smallest():
    table = table_of(plain, config=paper_with(l0=[160, 20, 80, 40]))
    assert table.columns == HEADS
    assert line(table, "tpp").entries[0].l0 == 20


def test_a_score_that_is_missing_stops_every_table():
    rows = [
        row
        for row in rows_of(PAPER, plain)
        if (row.stream, row.l0, row.metric) != ("mask30", 80, "scr.scr_metric_threshold_20")
    ]
    with pytest.raises(
        InputError, match=r"no scr\.scr_metric_threshold_20 of .*/mask30/.*/l0_80/seed_0/scores/scr.json"
    ):
        make_tables(shown_of(PAPER), Scores(rows), PUBLISHED)
