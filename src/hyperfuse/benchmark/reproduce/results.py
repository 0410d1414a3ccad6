"""What a table or figure found: rows, words, whether the paper's order shows, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.figure import Figure

Whose = Literal["order", "claim", "own"]


@dataclass(frozen=True)
class Field:
    """A column of a table: its key in the rows, its title, and how numbers are written."""

    key: str
    title: str
    form: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether a claim shows in what was computed here.

    Attributes:
        claim: such as ``Gabor above ReLU``.
        shown: whether it shows; None where what was computed does not decide it.
        measured: the numbers that decide it, such as ``difference 0.31 dB``.
        whose: ``order`` of variants or ``claim`` of the paper, or a question of our ``own``.
    """

    claim: str
    shown: bool | None
    measured: str
    whose: Whose = "claim"

    def __str__(self) -> str:
        answer = f"{'not decided' if self.shown is None else 'yes' if self.shown else 'no'}, {self.measured}."
        if self.whose == "own":
            return f"{self.claim[:1].upper()}{self.claim[1:]}: {answer}"
        return f"Shows the paper's {self.whose} ({self.claim}): {answer}"


@dataclass(frozen=True)
class Finding:
    """A table or figure, made.

    Attributes:
        title: of it.
        fields: columns of its table.
        rows: of its table; a missing value is left empty.
        figure: its picture.
        text: paragraphs on what is shown.
        verdicts: on the claims of the paper that it is there for.
        sources: whom to name for the data in it.
    """

    title: str
    fields: Sequence[Field]
    rows: Sequence[dict[str, Any]]
    figure: Figure
    text: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()
    sources: Sequence[str] = ()


def compare(
    claim: str, ours: float, others: float, unit: str = "dB", digits: int = 2, *, whose: Whose = "order"
) -> Verdict:
    """Return the verdict on ``ours`` being above ``others``; what is equal as it is shown is not above.

    Example:
        >>> str(compare("A above B", 40.0, 39.5))
        "Shows the paper's order (A above B): yes, difference 0.50 dB."
        >>> compare("A above B", 40.001, 40.0).shown
        False
    """
    difference = round(ours - others, digits) + 0.0
    return Verdict(claim, difference > 0, f"difference {difference:.{digits}f} {unit}".strip(), whose)
