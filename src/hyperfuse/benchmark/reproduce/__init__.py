"""The tables and figures of the FeINFN paper (Liang et al., NeurIPS 2024), a file each."""

from hyperfuse.benchmark.reproduce.artefacts import PIECES, Piece, find_pieces, outputs, prepare, reproduce
from hyperfuse.benchmark.reproduce.experiment import Lab
from hyperfuse.benchmark.reproduce.recipes import Budget

__all__ = ["PIECES", "Budget", "Lab", "Piece", "find_pieces", "outputs", "prepare", "reproduce"]
