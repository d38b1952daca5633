"""Settings on their way through Snakemake: spelled out as params, a line each, and read back as what they were."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskedsae.jobs.errors import InputError, first_line
from maskedsae.jobs.params import gathered, settings_of, spelled_out
from maskedsae.jobs.typed import plain, read

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
SETTINGS = st.recursive(
    st.dictionaries(st.text(min_size=1), VALUES | st.lists(VALUES)),
    lambda inner: st.dictionaries(st.text(min_size=1), inner | VALUES, min_size=1),
)


@given(SETTINGS)
def test_whatever_is_spelled_out_is_read_back(settings):
    """Keys with dots, colons, quotes and line breaks too."""
    assert gathered(spelled_out(settings)) == settings


def test_lines_are_legible():
    settings = {"training": {"batch": 2048}, "class_pairs": {"LabHC/bias_in.bios": [["a", "b"]]}}
    assert spelled_out(settings) == [
        "training.batch: 2048",
        'class_pairs."LabHC/bias_in.bios": [["a", "b"]]',
    ]


@dataclass(frozen=True)
class Inner:
    share: float
    name: str | None = None


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...] = ()
    numbers: tuple[int, ...] = ()
    by_name: dict[str, Inner] | None = None


OUTER = Outer(Inner(0.5, "x"), (Inner(1.0), Inner(2)), (1, 2), {"a.b": Inner(3.0)})


def test_a_dataclass_is_read_back_as_itself():
    assert settings_of(Outer, spelled_out(OUTER)) == OUTER
    assert read(Outer, plain(OUTER)) == OUTER


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({}, "inner: missing"),
        ({"inner": {"share": 1}, "outer": 1}, "outer: unknown key: known are inner, many, numbers, by_name"),
        ({"inner": {"share": "1"}}, "inner.share: '1' is not float"),
        ({"inner": {"share": True}}, "inner.share: True is not"),
        ({"inner": 3}, "inner: 3 is not a mapping"),
        ({"inner": {"share": 1}, "many": [{"share": 1}, {"shore": 1}]}, "many[1].shore: unknown key"),
        ({"inner": {"share": 1}, "numbers": [1, 2.5]}, "numbers[1]: 2.5 is not int"),
        ({"inner": {"share": 1}, "numbers": 1}, "numbers: 1 is not a list"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(value, line):
    with pytest.raises(InputError) as error:
        read(Outer, value)
    assert line in str(error.value)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError(""), "ValueError"),
        (ValueError("\n  \n"), "ValueError"),
        (ValueError("\n\n second"), "second"),
        (KeyError(), "KeyError"),
    ],
)
def test_the_first_line_of_an_error_or_its_type_where_it_says_nothing(error, line):
    assert first_line(error) == line
