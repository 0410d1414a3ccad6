"""A kind of dataset: how its scenes are found and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hyperfuse.cube.cube import Cube


@dataclass(frozen=True)
class Dataset:
    """A kind of dataset: how its scenes are found and read.

    Attributes:
        kind: name in the registry.
        title: name for messages and tables.
        layout: required layout of the folder, one clause.
        find: lists the scenes of a folder, ``{name: file or folder}``, without reading them.
        load: reads the scene at such a path.
        shape: returns (bands, rows, cols) of the scene at a path from headers alone; None where it has to be read.
        canonical: returns a scene's name in the spelling of this kind.
        members: names of the published scenes; others are used only where a split names them. None: all are used.
        page: address of the data, or None.
        source: citation for where a scene is displayed, or None.
    """

    kind: str
    title: str
    layout: str
    find: Callable[[Path], Mapping[str, Path]]
    load: Callable[[Path], Cube]
    shape: Callable[[Path], tuple[int, int, int]] | None = None
    canonical: Callable[[str], str] = str
    members: tuple[str, ...] | None = None
    page: str | None = None
    source: str | None = None

    @property
    def remedy(self) -> str:
        """Address of the data and layout of the folder, as the end of a message."""
        available = "" if self.page is None else f"{self.title} is available at {self.page} and "
        return f"{available}{self.layout}"
