"""Texts of files as they are shown: nothing in them commands a terminal or starts a line."""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import HyperfuseWarning, InputError, warn
from hyperfuse.io import read, write
from hyperfuse.text import escape_json, single_line

EVIL = "a\x1b]0;title\x07b\x9b31m\n\rerror: c\u202ed"


@given(st.text())
@example("a\x7fb")
@example("a\u2028b\u2029")
def test_json_states_the_same_without_control_characters(text):
    shown = escape_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(shown) == text
    assert shown == single_line(shown) or " " in text


def test_errors_and_warnings_of_the_library_are_one_line_without_controls():
    assert str(InputError(EVIL)) == "a]0;titleb31m error: cd"
    with pytest.warns(HyperfuseWarning) as caught:
        warn(EVIL)
    assert str(caught[0].message) == "a]0;titleb31m error: cd"
    assert len(str(InputError("x" * 100_000))) < 2010


def test_no_name_attribute_or_file_name_reaches_the_terminal_raw(run, tmp_path):
    folder = tmp_path / EVIL.replace("/", "")
    folder.mkdir()
    path = folder / f"{EVIL}.npz"
    cube = Cube(
        data=np.ones((2, 4, 5)), band_names=(EVIL, "b"), units=EVIL, attributes={EVIL: EVIL}, history=({EVIL: EVIL},)
    )
    write(path, cube)
    assert read(path).attributes == {EVIL: EVIL}
    shown = [run("info", path), run("info", path, "--json"), run("info", f"{path}:{EVIL}"), run("info", f"{path}x")]
    assert [code for code, _, _ in shown] == [0, 0, 2, 2]
    for _, out, err in shown:
        assert not set(out + err) & {"\x1b", "\x07", "\x9b", "\r", "\u202e"}
        assert not any(line.startswith("error: c") for line in (out + err).splitlines())
    assert json.loads(shown[1][1])["attributes"] == {EVIL: EVIL}
