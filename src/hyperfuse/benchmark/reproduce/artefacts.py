"""The tables and figures that there are, and how they are made."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.output import SUFFIXES, write_finding
from hyperfuse.benchmark.reproduce.results import Finding
from hyperfuse.benchmark.reproduce.trained import Wanted
from hyperfuse.errors import InputError, nearest_name

ALL = "all"


@dataclass(frozen=True)
class Piece:
    """A table or figure of the paper.

    Attributes:
        name: what the command takes.
        what: table or figure.
        title: what it shows.
        module: that makes it, beside this one.
        kinds: data sets that it is about.
        variant: what the module is told beside the lab, where it makes several.
    """

    name: str
    what: Literal["table", "figure"]
    title: str
    module: str
    kinds: tuple[str, ...] = ("cave",)
    variant: tuple[Any, ...] = ()

    def wanted(self, lab: Lab) -> list[Wanted]:
        """Return the networks that it needs."""
        found: list[Wanted] = self._call("wanted", lab)
        return found

    def make(self, lab: Lab) -> Finding:
        """Make it; networks that are not there yet are trained."""
        finding: Finding = self._call("make", lab)
        return finding

    def _call(self, function: str, lab: Lab) -> Any:
        module = importlib.import_module(f"{__package__}.{self.module}")
        return getattr(module, function)(lab, *self.variant)


_MAIN, _SIDE = "main_tables", "comparison"
PIECES: tuple[Piece, ...] = (
    Piece("cave-x4", "table", "CAVE, ratio 4: methods and networks", _MAIN, ("cave",), ("cave", 4)),
    Piece("cave-x8", "table", "CAVE, ratio 8: methods and networks", _MAIN, ("cave",), ("cave", 8)),
    Piece("harvard-x4", "table", "Harvard, ratio 4: methods and networks", _MAIN, ("harvard",), ("harvard", 4)),
    Piece("harvard-x8", "table", "Harvard, ratio 8: methods and networks", _MAIN, ("harvard",), ("harvard", 8)),
    Piece("parameters", "figure", "PSNR against parameters", "parameters"),
    Piece("domains", "table", "Ablation: spatial domain, frequency domain, both", "domains"),
    Piece("activation", "table", "Ablation: activation of the decoder", "activation"),
    Piece("upsampling", "table", "Ablation: how latents are upsampled", "upsampling"),
    Piece("iterations", "figure", "PSNR over iterations, with and without Fourier branch", "iterations"),
    Piece("likeness", "figure", "Likeness of the latents' amplitudes and phases", "similarity"),
    Piece("leakage", "figure", "Leakage of 1x1 and 3x3 kernels on a spectrum", "leakage"),
    Piece("gabor", "figure", "The Gabor wavelet in time and frequency", "gabor"),
    Piece("response", "figure", "Frequency response of the decoder, Gabor and ReLU", "response"),
    Piece("spectrum-change", "figure", "A local change of a spectrum, seen in the image", "spectrum_change"),
    Piece("comparison-cave", "figure", "CAVE: close-ups and errors in pseudo-colour", _SIDE, ("cave",), ("cave", 4)),
    Piece("comparison-harvard", "figure", "Harvard: likewise", _SIDE, ("harvard",), ("harvard", 4)),
)


def find_pieces(names: Sequence[str]) -> list[Piece]:
    """Return the pieces of these names, ``all`` for all of them, each once and in the order of the list.

    Raises:
        InputError: an unknown name, or none.

    Example:
        >>> [piece.name for piece in find_pieces(["gabor", "cave-x4"])]
        ['cave-x4', 'gabor']
    """
    known = {piece.name: piece for piece in PIECES}
    if not names:
        raise InputError(f"name a table or figure, or all; there are {', '.join(known)}")
    for name in names:
        if name != ALL and name not in known:
            raise InputError(f"no table or figure {name!r}{nearest_name(name, [*known, ALL])}")
    return [piece for piece in PIECES if ALL in names or piece.name in names]


def outputs(out: Path, pieces: Sequence[Piece]) -> list[Path]:
    """Return the files that pieces write."""
    return [out / f"{piece.name}{suffix}" for piece in pieces for suffix in SUFFIXES]


def prepare(lab: Lab, pieces: Sequence[Piece], workers: int | None = None) -> None:
    """Open the data and train the networks that pieces need, each once.

    Raises:
        InputError: data that are not there.
        HyperfuseError: a training that failed.
    """
    for kind in dict.fromkeys(kind for piece in pieces for kind in piece.kinds):
        lab.material(kind)
    lab.prepare([one for piece in pieces for one in piece.wanted(lab)], workers)


def reproduce(lab: Lab, piece: Piece) -> tuple[Finding, list[Path]]:
    """Make a table or figure and write it; return what was found, and the files."""
    finding = piece.make(lab)
    return finding, write_finding(lab, piece.name, finding, piece.kinds)
