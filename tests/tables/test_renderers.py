"""Every renderer: the values of a table, what is missing, marks, and text that tries to break out."""

import csv
import html
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hyperfuse.tables import Code, Column, MeanStd, Table
from hyperfuse.tables.csv import render_csv
from hyperfuse.tables.html import escape_html, render_html
from hyperfuse.tables.latex import escape_latex, render_latex
from hyperfuse.tables.markdown import escape_markdown, render_markdown
from hyperfuse.tables.terminal import render_terminal
from hyperfuse.text import single_line


def on_terminal(table, **options):
    stream = io.StringIO()
    Console(file=stream, width=200, **options).print(render_terminal(table))
    return stream.getvalue()


RENDERERS = (render_markdown, render_csv, render_latex, render_html, on_terminal)
COLUMNS = (
    Column("name", "method"),
    Column("psnr_db", "PSNR", "dB", ".2f", "high"),
    Column("n", "pixels", format=",d"),
)
TABLE = Table(
    COLUMNS,
    [
        {"name": Code("gsa"), "psnr_db": MeanStd(40.0, 1.5), "n": 12_000},
        {"name": Code("cnmf"), "psnr_db": MeanStd(41.25, 0.5), "n": None},
        {"name": Code("lost"), "psnr_db": "failed"},
    ],
    caption="Ratio 4",
    notes=("lost failed on 1 of 2 scenes.",),
)


def one_cell(text):
    return Table((Column("key", "key"), Column("n", "n")), [{"key": text, "n": 1}])


@pytest.mark.parametrize("render", RENDERERS)
def test_every_renderer_takes_empty_tables_and_missing_values(render):
    assert isinstance(render(Table((), [])), str)
    assert isinstance(render(Table((), [{}])), str)
    assert "PSNR" in render(Table(COLUMNS, [])) or "psnr_db" in render(Table(COLUMNS, []))
    missing = Table(COLUMNS, [{"name": None, "psnr_db": math.nan}, {}])
    assert "None" not in render(missing)


@pytest.mark.parametrize("render", [render_markdown, render_latex, render_html, on_terminal])
def test_every_renderer_for_readers_has_title_values_marks_and_notes(render):
    text = render(TABLE)
    for part in ("PSNR (dB)", "40.00", "1.50", "41.25", "12,000", "failed", "Ratio 4", "1 of 2 scenes"):
        assert part in text
    assert "nan" not in text


def test_marks_of_each_renderer():
    assert "| `cnmf` | **41.25** ± 0.50 | - |" in render_markdown(TABLE)
    assert "| `gsa` | <ins>40.00</ins> ± 1.50 | 12,000 |" in render_markdown(TABLE)
    assert r"cnmf & \textbf{41.25} $\pm$ 0.50 & -- \\" in render_latex(TABLE)
    assert r"gsa & \underline{40.00} $\pm$ 1.50 & 12,000 \\" in render_latex(TABLE)
    assert '<td class="number"><b>41.25</b> ± 0.50</td><td class="number">–</td>' in render_html(TABLE)
    styled = on_terminal(TABLE, force_terminal=True, color_system="standard")
    assert "\x1b[1m41.25\x1b[0m ± 0.50" in styled
    assert "\x1b[4m40.00\x1b[0m ± 1.50" in styled


def test_markdown_has_the_caption_as_paragraph_or_heading():
    assert render_markdown(TABLE).startswith("Ratio 4\n\n| method |")
    assert render_markdown(TABLE, heading=2).startswith("## Ratio 4\n\n| method |")
    assert render_markdown(TABLE).endswith("\n\nlost failed on 1 of 2 scenes.\n")


def test_latex_is_a_plain_tabular():
    text = render_latex(TABLE)
    assert r"\begin{tabular}{lrr}" in text
    assert "toprule" not in text
    assert r"\caption{Ratio 4. lost failed on 1 of 2 scenes.}" in text
    assert {line.count("&") for line in text.splitlines() if line.endswith(r"\\")} == {2}
    assert "tabular" not in render_latex(Table((), []))


def test_csv_has_all_digits_and_two_columns_for_a_mean():
    rows = list(csv.DictReader(io.StringIO(render_csv(TABLE))))
    assert rows[0] == {"name": "gsa", "psnr_db_mean": "40.0", "psnr_db_std": "1.5", "n": "12000"}
    assert rows[2] == {"name": "lost", "psnr_db_mean": "failed", "psnr_db_std": "", "n": ""}
    third = Table(COLUMNS[1:2], [{"psnr_db": 1 / 3}, {"psnr_db": -math.inf}])
    assert render_csv(third).splitlines() == ["psnr_db", str(1 / 3), "-inf"]


def test_html_names_rows_columns_and_its_box():
    text = render_html(TABLE)
    assert '<th scope="row"><code>gsa</code></th>' in text
    assert '<th scope="col" class="number">PSNR (dB)</th>' in text
    assert 'aria-label="table: Ratio 4"' in text
    assert 'aria-label="table: key"' in render_html(one_cell("x"))


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.data = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.data.append(data)


@given(st.text())
def test_text_in_markdown_stays_in_its_cell(text):
    for value in (text, Code(text)):
        lines = render_markdown(one_cell(value)).rstrip("\n").split("\n")
        assert len(lines) == 3
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", lines[2])) == 3
        assert len(lines[2].splitlines()) == 1
    assert "<" not in render_markdown(one_cell(text))


@given(st.text())
def test_text_in_latex_holds_no_command(text):
    plain = render_latex(one_cell("x"))
    found = render_latex(one_cell(text))
    for special in (r"(?<!\\)&", r"(?<!\\)%", r"(?<!\\)\$", r"(?<!\\)#", r"(?<!\\)_"):
        assert len(re.findall(special, found)) == len(re.findall(special, plain))
    opened = len(re.findall(r"(?<!\\)\{", found)) - len(re.findall(r"(?<!\\)\}", found))
    assert opened == 0
    assert found.count("\n") == plain.count("\n")


@given(st.text())
def test_text_in_html_is_the_same_when_read_and_holds_no_markup(text):
    shown = escape_html(text)
    assert not set("<>\"'") & set(shown)
    assert html.escape(html.unescape(shown)) == shown
    if text.isascii() and text.isprintable():
        assert html.unescape(shown) == text
    page = Reader(render_html(one_cell(text)))
    assert page.tags == ["div", "table", "thead", "tr", "th", "th", "tbody", "tr", "th", "td"]


@given(st.text())
def test_text_in_csv_comes_back_and_is_no_formula(text):
    header, row = csv.reader(io.StringIO(render_csv(one_cell(text)), newline=""))
    assert header == ["key", "n"]
    shown = single_line(text)
    assert row == [f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown, "1"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\x00-1"])
def test_formulas_are_text_in_csv(text):
    assert render_csv(one_cell(text)).splitlines()[1] == f"'{text[-2:] if text[0] < ' ' else text},1"
    assert (
        render_csv(Table((Column(text, "n"),), [])) == render_csv(one_cell(text)).splitlines()[1].split(",")[0] + "\n"
    )
    for number in (-3, -3.5, np.float32(-2.5), -1e-300):
        assert f"{number}" in render_csv(Table((Column("n", "n"),), [{"n": number}])).splitlines()


@given(st.text())
def test_text_on_a_terminal_holds_no_escapes_and_no_markup_of_rich(text):
    found = on_terminal(one_cell(f"[red]{text}"))
    assert "\x1b" not in found
    assert "[red]" in found


def test_special_characters_of_latex():
    assert escape_latex("a_b & 50% $x$ #1 {y} ~ ^ \\") == (
        r"a\_b \& 50\% \$x\$ \#1 \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )


def test_special_characters_of_markdown():
    assert escape_markdown("a|b*c<d\\\ne") == "a\\|b\\*c&lt;d\\\\ e"
    assert escape_markdown("[x](y) `z` &lt;") == "\\[x](y) \\`z\\` &amp;lt;"
