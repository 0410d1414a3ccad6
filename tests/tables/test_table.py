import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.tables import Code, Column, MeanStd, Table
from hyperfuse.tables.table import rank
from hyperfuse.text import printable, single_line

PSNR = Column("psnr_db", "PSNR", "dB", ".2f", "high")
SAM = Column("sam_degrees", "SAM", "degrees", ".3f", "low")
NAME = Column("name", "method")


def marks(table):
    return [[cell.mark for cell in cells] for cells in table.cells()]


def test_less_is_better_in_angle_and_error():
    assert rank([2.0, 1.0, 3.0], SAM) == ["second", "best", ""]
    assert rank([2.0, 1.0, 3.0], PSNR) == ["second", "", "best"]


def test_values_that_look_equal_have_the_same_mark():
    assert rank([40.004, 40.001, 39.0, None, math.nan], PSNR) == ["best", "best", "second", "", ""]
    assert rank([math.inf, 50.0], PSNR) == ["best", "second"]
    assert rank(["failed", MeanStd(3.0, 1.0), 2.0], PSNR) == ["", "best", "second"]
    assert rank([12_000, 1_000], Column("n", "n", format=",d", better="low")) == ["second", "best"]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_the_best_mark_is_where_the_largest_value_is(values):
    found = rank(values, PSNR)
    assert found[int(np.argmax(values))] == "best"
    assert all(values[index] <= max(values) + 1e-9 for index, mark in enumerate(found) if mark == "second")


def test_a_column_without_a_better_end_has_no_marks():
    assert marks(Table((NAME, Column("n", "n", format="d")), [{"name": "a", "n": 1}, {"name": "b", "n": 2}])) == [
        ["", ""],
        ["", ""],
    ]


def test_values_are_compared_within_their_group():
    rows = [{"psnr_db": value} for value in (1.0, 2.0, 3.0, 4.0, 9.0)]
    table = Table((PSNR,), rows, groups=("a", "a", "b", "b", None))
    assert marks(table) == [["second"], ["best"], ["second"], ["best"], [""]]


def test_cells_are_text_in_the_format_of_their_column():
    columns = (NAME, PSNR, Column("n", "n", format=",d"), Column("absent", "absent"))
    (cells,) = Table(columns, [{"name": Code("gsa"), "psnr_db": MeanStd(43.5, 3.456), "n": 12_000}]).cells()
    assert [cell.text for cell in cells] == ["gsa", "43.50", "12,000", ""]
    assert [cell.code for cell in cells] == [True, False, False, False]
    assert cells[1].spread == "3.46"
    assert Table((PSNR,), [{"psnr_db": MeanStd(1.0, math.nan)}]).cells()[0][0].spread == ""


def test_columns_of_numbers_are_known():
    rows = [{"a": 1, "b": "x", "c": None}, {"a": None, "b": 2.0, "c": None}]
    table = Table([Column(key, key) for key in "abc"], rows)
    assert [table.is_numeric(column) for column in table.columns] == [True, False, False]
    assert table.is_numeric(PSNR)


def test_columns_can_be_chosen():
    table = Table((NAME, PSNR, SAM), [{"name": "a"}], caption="c")
    assert [column.key for column in table.only("sam_degrees", "name").columns] == ["sam_degrees", "name"]
    with pytest.raises(KeyError):
        table.only("ssim")


@given(st.text())
def test_a_single_line_holds_no_controls(text):
    found = single_line(text)
    assert found == single_line(found)
    assert len(found.splitlines()) <= 1
    assert printable(found) == found
    if text.isprintable() and text.split() == text.split(" "):
        assert found == text


def test_spaces_that_do_not_break_stay():
    assert single_line("12\u202f000\u00a0px\r\n\x1b[31m x") == "12\u202f000\u00a0px [31m x"
