"""The files of a product: a folder, or an archive that is read without unpacking it."""

from __future__ import annotations

import math
import os
import re
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hyperfuse.errors import InputError
from hyperfuse.io.encoding.damage import damage_reported

# The largest metadata file known is that of an EnMAP scene, some 5 MB; more is no metadata.
LARGEST_TEXT = 32 * 2**20
_MAX_NAMES = 200_000
_MAX_DEPTH = 6
_DAMAGED_ARCHIVE = "is not a readable archive; it is cut off, damaged or encrypted"


class Members:
    """Files below a ``root`` (folder or archive), their ``names`` POSIX paths relative to it, sorted."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self.root = root
        self.names = tuple(sorted(names))

    def read_text(self, name: str) -> bytes:
        """Return the bytes of a metadata file.

        Raises:
            InputError: the file is larger than any metadata file, or cannot be unpacked.
        """
        with damage_reported(f"{name} cannot be read; it is cut off or damaged"):
            raw = self._head(name, LARGEST_TEXT + 1)
        if len(raw) > LARGEST_TEXT:
            raise InputError(f"{name} has more than {LARGEST_TEXT // 2**20} MB; that is no metadata file")
        return raw

    def raster(self, name: str) -> Path:
        """Return the path under which GDAL opens a file."""
        return self.root / name

    def _head(self, name: str, size: int) -> bytes:
        with (self.root / name).open("rb") as file:
            return file.read(size)

    def find(self, pattern: str) -> list[str]:
        """Return the files whose base name matches a pattern; see :func:`match`."""
        return [name for name in self.names if match(pattern, base_name(name))]

    def find_one(self, pattern: str, what: str) -> str:
        """Return the one file whose base name matches; ``what`` is the product's name for it, such as ``MTD_TL.xml``.

        Raises:
            InputError: there is none, or more than one.
        """
        found = self.find(pattern)
        if not found:
            raise InputError(f"the file {what} is missing in {self.root}")
        if len(found) > 1:
            raise InputError(f"{self.root} holds {len(found)} files {what} ({found[0]}, {found[1]}); name one of them")
        return found[0]


@dataclass(frozen=True)
class Source:
    """The files of a folder or archive, and which of them the user named (None: the folder or archive itself).

    ``part`` is that of several images in the file that is meant, or None for the main one.
    """

    members: Members
    chosen: str | None = None
    part: str | None = None

    @property
    def file(self) -> Path:
        """The path of the file that was named."""
        return self.members.root / (self.chosen or "")

    def of(self, path: Path) -> Source:
        """Return the same files, of which the one of a path is named."""
        return replace(self, chosen=path.relative_to(self.members.root).as_posix())

    def path(self, pattern: str, what: str) -> Path:
        """Return the path of the file that was named, else of the one that matches; see :meth:`Members.find_one`."""
        return self.members.root / (self.chosen or self.members.find_one(pattern, what))


class _ZipMembers(Members):
    def __init__(self, root: Path) -> None:
        with damage_reported(_DAMAGED_ARCHIVE), zipfile.ZipFile(root) as archive:
            # A name that starts with NUL is cut off to none.
            names = [entry.filename for entry in archive.infolist() if entry.filename and not entry.is_dir()]
        super().__init__(root, names)

    def raster(self, name: str) -> Path:
        return Path(f"/vsizip/{{{self.root.absolute()}}}/{name}")

    def _head(self, name: str, size: int) -> bytes:
        with zipfile.ZipFile(self.root) as archive, archive.open(name) as file:
            return file.read(size)


class _TarMembers(Members):
    def __init__(self, root: Path) -> None:
        # Uncompressed only: a compressed one would be unpacked from its start for every block.
        with damage_reported(_DAMAGED_ARCHIVE), tarfile.open(root, "r:") as archive:
            entries = [(entry.name, entry.offset_data, entry.size) for entry in archive if entry.isreg()]
        self._ranges = {name: (offset, size) for name, offset, size in entries}
        super().__init__(root, self._ranges)

    def raster(self, name: str) -> Path:
        # GDAL's /vsitar/ does not find the long names of PAX archives.
        offset, size = self._ranges[name]
        return Path(f"/vsisubfile/{offset}_{size},{self.root.absolute()}")

    def _head(self, name: str, size: int) -> bytes:
        offset, stored = self._ranges[name]
        with self.root.open("rb") as file:
            file.seek(offset)
            return file.read(min(size, stored))


def match(pattern: str, name: str) -> re.Match[str] | None:
    """Match a whole name, whatever its case, with a verbose pattern such as those of ``names``."""
    return re.fullmatch(pattern, name, re.IGNORECASE | re.VERBOSE)


def finite_number(text: str | None, what: str) -> float:
    """Return a text of a metadata file as a finite number, or refuse it; ``what`` names the file and the entry."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{what} is {text!r}, not a number")
    return value


def base_name(name: str) -> str:
    """Return the last part of the name of a file."""
    return PurePosixPath(name).name


def is_archive(path: Path) -> bool:
    """Return whether a name is that of an archive that :func:`open_archive` reads."""
    return path.suffix.lower() in (".zip", ".tar")


def open_archive(path: Path) -> Members:
    """Return the files of a zip or an uncompressed tar; a damaged one is an InputError."""
    return _ZipMembers(path) if path.suffix.lower() == ".zip" else _TarMembers(path)


def open_folder(path: Path, *, deep: bool = False) -> Members:
    """Return the files of a folder, with ``deep`` those of the folders below it too; too many are an InputError."""
    names: list[str] = []
    for folder, below, files in os.walk(path):
        inside = Path(folder).relative_to(path)
        names += [(inside / file).as_posix() for file in files]
        if len(names) > _MAX_NAMES:
            raise InputError(f"holds more than {_MAX_NAMES} files; name the product among them")
        if not deep or len(inside.parts) >= _MAX_DEPTH:
            below.clear()
    return Members(path, names)
