"""Benchmark tables as LaTeX: plain ``tabular``, so that no package is needed."""

from __future__ import annotations

from collections.abc import Sequence

from hyperfuse.benchmark.conditions_text import describe_plan, describe_scoring, describe_times
from hyperfuse.benchmark.plan import Plan
from hyperfuse.benchmark.records import Record
from hyperfuse.benchmark.tables import COLUMNS, Mark, Summary, marks, summarise

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex(plan: Plan, records: Sequence[Record]) -> str:
    """Return a ``table`` for each ratio: means, with best in bold and second underlined."""
    lines = [f"% {describe_scoring()}", f"% {describe_times(records)}"]
    summaries = summarise(records)
    for ratio in plan.ratios:
        lines += ["", *_table(plan, [one for one in summaries if one.ratio == ratio], ratio)]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    r"""Return text with what LaTeX takes for commands escaped.

    Example:
        >>> escape("real_and_fake 100%")
        'real\\_and\\_fake 100\\%'
    """
    return "".join(_SPECIAL.get(character, character) for character in text)


def _table(plan: Plan, summaries: Sequence[Summary], ratio: float) -> list[str]:
    titles = ["method", *(column.title for column in COLUMNS), "seconds", "parameters"]
    ranked = {
        column.key: marks([one.mean.get(column.key) if one.complete else None for one in summaries], column)
        for column in COLUMNS
    }
    lines = [r"\begin{table}", r"\centering", r"\begin{tabular}{l" + "r" * (len(titles) - 1) + "}", r"\hline"]
    lines += [_row([escape(title) for title in titles]), r"\hline"]
    notes = []
    for place, one in enumerate(summaries):
        name = escape(one.name)
        if not one.complete:
            name += r" $^{*}$"
            notes.append(f"{escape(one.name)} failed on {one.scenes - one.scored} of {one.scenes} scenes")
        cells = [name]
        for column in COLUMNS:
            text = "failed"
            if column.key in one.mean:
                text = _marked(format(one.mean[column.key], column.form), ranked[column.key][place])
                text += rf" $\pm$ {format(one.std[column.key], column.form)}"
            cells.append(text)
        cells.append("--" if one.seconds is None else f"{one.seconds:.2f}")
        cells.append("--" if one.parameters is None else f"{one.parameters / 1e6:.3f} M")
        lines.append(_row(cells))
    caption = f"Ratio {ratio:g}, mean $\\pm$ standard deviation. {escape(describe_plan(plan))}"
    if notes:
        caption += " $^{*}$ " + "; ".join(notes) + "."
    return [*lines, r"\hline", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]


def _marked(text: str, mark: Mark) -> str:
    return {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}[mark]


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
