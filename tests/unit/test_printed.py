"""What the paper's printed numbers say of equal l0, worked out by hand from Tables 1-3."""

from dataclasses import replace

import pytest

from maskedsae.inference.printed import printed_gains
from maskedsae.report.printed import printed_section
from maskedsae.report.writers import MINUS
from scored import PUBLISHED

GAINS = {(gain.table, gain.metric, gain.p, gain.l0): gain for gain in printed_gains(PUBLISHED)}
SHARE = 0.514573  # of an octave: log2(1 / 0.7), from l0 to l0 / 0.7, where the baseline's next l0 is twice as large


def test_each_masked_sae_of_the_tables_has_its_gains():
    assert len(GAINS) == 2 * 5 * 4 + 2 * 3
    assert {gain.p for gain in GAINS.values()} == {0.2, 0.3, 0.5}
    assert {(gain.table, gain.model) for gain in GAINS.values()} == {
        *(("table1", "Pythia"), ("table2", "Gemma"), ("table3", "Pythia"))
    }


@pytest.mark.parametrize(
    ("place", "nominal", "assumed_l0", "matched", "implied_l0"),
    [
        # 86.119 at 20 and 91.646 at 40, masked 88.475: 2.356 of the 5.527 points between them, 0.4263 octaves
        (("table1", "Mean Full Absorption", 0.3, 20), 2.356, 28.571, 2.356 - SHARE * 5.527, 26.87),
        (("table1", "Mean Full Absorption", 0.3, 160), 0.569, 228.571, None, None),  # beyond 160; over 97.434
        (("table1", "Explained Variance", 0.3, 20), -0.906, 28.571, -0.906 - SHARE * 5.249, None),  # under 72.172
        (("table1", "SCR", 0.3, 80), 7.494, 114.286, 27.626 - (20.132 - SHARE * 11.691), None),  # the curve turns
        (("table2", "Mean Full Absorption", 0.3, 20), 3.754, 28.571, 3.754 - SHARE * 6.560, 29.74),
        (("table2", "TPP", 0.3, 160), -1.562, 228.571, None, 144.14),  # 8.810 of the 10.372 points from 80 to 160
        # Table 3 by Table 1's curve
        (("table3", "Mean Full Absorption", 0.2, 20), 1.260, 25, 1.260 - 0.321928 * 5.527, 23.42),
        (("table3", "Mean Full Absorption", 0.3, 20), 2.356, 28.571, 2.356 - SHARE * 5.527, 26.87),
        (("table3", "Mean Full Absorption", 0.5, 20), 3.483, 40, 89.602 - 91.646, 30.96),
        (("table3", "Explained Variance", 0.5, 20), 69.540 - 72.171, 40, 69.540 - 77.421, None),
    ],
)
def test_gains_are_those_of_the_printed_numbers(place, nominal, assumed_l0, matched, implied_l0):
    gain = GAINS[place]
    found = (gain.nominal, gain.assumed_l0, gain.matched, gain.implied_l0)
    expected, tolerances = (nominal, assumed_l0, matched, implied_l0), (1e-9, 1e-3, 1e-5, 0.01)
    for ours, by_hand, tolerance in zip(found, expected, tolerances, strict=True):
        assert (ours is None) if by_hand is None else ours == pytest.approx(by_hand, abs=tolerance)


def test_a_masked_sae_that_lies_on_the_curve_gains_nothing_at_its_l0():
    """Scores that grow by 6 points an octave, and masked ones by as much as l0 / 0.7 makes of it."""
    table = PUBLISHED.table("Pythia", "l0")
    line = {(0.0, 20 * 2**n): f"{60 + 6 * n:.6f}" for n in range(4)}
    line |= {(0.3, 20 * 2**n): f"{60 + 6 * (n + SHARE):.6f}" for n in range(4)}
    made = replace(table, values={("TPP", *place): text for place, text in line.items()})
    gains = printed_gains(replace(PUBLISHED, tables=[made]))
    assert [gain.nominal for gain in gains] == pytest.approx([6 * SHARE] * 4)
    assert [gain.matched for gain in gains[:3]] == pytest.approx([0] * 3, abs=1e-4)
    assert [gain.implied_l0 for gain in gains[:3]] == pytest.approx([gain.assumed_l0 for gain in gains[:3]], rel=1e-4)


def test_the_section_counts_only_what_it_can_compare():
    """Tables 1 and 2 at l0 = 20, 40 and 80, five metrics each: 114 is the last l0 / 0.7 below 160."""
    section = printed_section(PUBLISHED)
    assert (section["compared"], section["nominal"], section["matched"]) == (30, 18, 12)
    assert section["l0s"] == [20, 40, 80, 160]
    first, last = section["rows"][0], section["rows"][-1]
    assert (first["table"], first["metric"], first["p"]) == ("Pythia, Table 1", "Mean Full Absorption", "0.3")
    assert first["cells"][20] == {"nominal": "+2.36", "matched": f"{MINUS}0.49", "implied": "26.9"}
    assert first["cells"][160] == {"nominal": "+0.57", "matched": "—", "implied": "—"}
    assert (last["table"], last["p"], last["cells"].keys()) == ("Pythia, Table 3", "0.5", {20})
