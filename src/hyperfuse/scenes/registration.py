"""Registration alone: where an HSI lies on an MSI, how well that is known, and the MSI on the HSI's geometry."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hyperfuse.calls import checked
from hyperfuse.cube.cube import Cube
from hyperfuse.cube.header import CubeHeader
from hyperfuse.cube.window import Window
from hyperfuse.errors import InputError
from hyperfuse.io import check_output, write
from hyperfuse.io.encoding.options import ReadOptions, WriteOptions
from hyperfuse.io.files import ImageLike, as_cube
from hyperfuse.io.windows.memory import MemorySource
from hyperfuse.io.windows.remapped import RemappedSource
from hyperfuse.io.windows.source import WindowSource, offsets_of
from hyperfuse.io.windows.write import BLOCK, is_written_by_windows, writing_windows
from hyperfuse.methods import get_method
from hyperfuse.progress import Progress, showing, silent
from hyperfuse.runtime.devices import find_device
from hyperfuse.scenes.files import PairFiles, as_excluded, masked
from hyperfuse.scenes.images import ImageFiles, hsi_cube
from hyperfuse.scenes.job import FusionJob, configure
from hyperfuse.scenes.matching.blind import Match, match_headers
from hyperfuse.scenes.matching.displaced import displacement_of
from hyperfuse.scenes.matching.evidence import Evidence
from hyperfuse.scenes.pipeline import match_scene
from hyperfuse.scenes.source import PairSource
from hyperfuse.sensor.displacement_map import DisplacementMap
from hyperfuse.sensor.geometry import PairGeometry
from hyperfuse.sensor.psf import BoxPsf, GaussianPsf, KernelPsf
from hyperfuse.version import __version__

Floats = NDArray[np.float64]
# The method of the job that matches a pair: it needs no responses. Pixels of the tiles that a large scene is read in.
_METHOD, _TILE = "bicubic", 1024


@dataclass(frozen=True, eq=False)
class RegisteredPair:
    """How an HSI lies on an MSI.

    Attributes:
        displacement: where the HSI's pixels lie against the headers; ``write(path)`` keeps it for ``fuse``.
        evidence: the model, tie points and errors; ``to_dict()`` returns plain values.
        match: how the two images relate.
        notes: what was found and decided, a sentence each.
    """

    displacement: DisplacementMap
    evidence: Evidence = field(repr=False)
    match: Match = field(repr=False)
    notes: tuple[str, ...]
    _source: PairSource = field(repr=False)
    _stated: Match = field(repr=False)

    def msi(self) -> Cube:
        """Return the MSI on the geometry of the HSI: where the HSI states its pixels to lie, cut to what both cover.

        It is resampled once, by cubic convolution, on the grid of its own that is parallel to the HSI's.
        """
        view = self._view()
        return view.read(Window(0, 0, view.header.rows, view.header.cols))

    def write(
        self,
        path: str | Path,
        options: WriteOptions | None = None,
        *,
        overwrite: bool = False,
        progress: Progress = silent,
    ) -> CubeHeader:
        """Write :meth:`msi` to a file, window by window where the format can; return its header.

        Raises:
            InputError: an existing file without ``overwrite``, or a path that cannot be written to.
        """
        view, how = self._view(), options or WriteOptions()
        check_output(path, how, overwrite=overwrite)
        if not is_written_by_windows(path):
            write(path, self.msi(), how, overwrite=overwrite)
            return view.header
        rows, cols = view.header.rows, view.header.cols
        nodata = view.header.coding.nodata
        header = view.header.replace(nodata=float("nan") if nodata is None else nodata)
        with writing_windows(path, header, how, overwrite=overwrite) as target:
            for row in range(0, rows, BLOCK):
                window = Window(row, 0, min(BLOCK, rows - row), cols)
                target.write(window, view.read(window))
                progress((row + window.rows) / rows, "resampling the MSI")
        return header

    def close(self) -> None:
        """Close the files."""
        self._source.close()

    def _view(self) -> WindowSource:
        """Return the MSI where the HSI says that its pixels lie."""
        stated, msi = self._stated, self._source.msi
        whole = stated.msi_header(msi.header)
        grid, window = whole.transform or Affine.identity(), stated.msi
        own = msi.header.transform or Affine.identity()
        parallel = stated.grid is None
        start = np.array(stated.sensor.offset) + np.array(window[:2]) - np.array(stated.hsi[:2]) * stated.sensor.ratio

        def positions(rows: NDArray[np.intp], cols: NDArray[np.intp]) -> Floats:
            lines = [line + first for line, first in zip((rows, cols), window[:2], strict=True)]
            low = [(line - first) / ratio for line, first, ratio in zip(lines, start, stated.sensor.ratio, strict=True)]
            at = np.stack(np.meshgrid(*(line.astype(np.float64) for line in lines), indexing="ij"))
            at += self.displacement.at(*low)
            return at if parallel else _in_other(at, grid, own, (whole.crs, msi.header.crs))

        step = {
            "step": "align",
            "model": self.evidence.model,
            "resampling": "cubic convolution",
            "notes": list(self.notes),
            "version": __version__,
        }
        header = whole.crop(*window)
        return RemappedSource(msi, header.replace(history=(*msi.header.history, step)), positions)


def _in_other(at: Floats, grid: Affine, own: Affine, systems: tuple[str | None, str | None]) -> Floats:
    """Return where pixels (2, n, m) of one grid lie in another, perhaps of another coordinate system."""
    x, y = grid @ (at[1].ravel() + 0.5, at[0].ravel() + 0.5)
    if None not in systems and systems[0] != systems[1]:
        from rasterio.warp import transform

        from hyperfuse.cube.crs import parse_crs

        x, y = (np.asarray(one) for one in transform(parse_crs(systems[0] or ""), parse_crs(systems[1] or ""), x, y))
    col, row = ~own @ (x, y)
    return np.stack([row - 0.5, col - 0.5]).reshape(at.shape)


@checked
def align(
    hsi: ImageLike,
    msi: ImageLike,
    *,
    psf: GaussianPsf | BoxPsf | KernelPsf | str | None = None,
    ratio: float | tuple[float, float] | None = None,
    same_ground: bool = False,
    displacement: DisplacementMap | str | Path | None = None,
    search: float | None = None,
    mask: ImageLike | None = None,
    reading: ReadOptions | None = None,
    msi_reading: ReadOptions | None = None,
    progress: Progress | bool = silent,
) -> RegisteredPair:
    """Find how an HSI lies on an MSI, as :func:`~hyperfuse.fuse` does before it fuses; nothing is fused.

    Args:
        hsi: LR-HSI: a :class:`Cube`, a ``DataArray``, an array, or a file, or several that are merged.
        msi: HR-MSI of the same area, likewise.
        psf: as for ``fuse``, as are ratio, same_ground and mask.
        ratio: see there.
        same_ground: see there.
        displacement: a map that was found before, which is applied in place of an estimate.
        search: how far off the headers the HSI may lie, in metres; default: 350.
        mask: see there.
        reading: how files of the HSI are read.
        msi_reading: how files of the MSI are read.
        progress: called with the fraction done and a short message; True shows a bar on the terminal or in a notebook.

    Returns:
        The displacement of the HSI's pixels with the evidence for it; its methods resample and write the MSI.

    Raises:
        InputError: a pair that does not fit together; the message says what to do.

    Example:
        >>> from hyperfuse import simulate
        >>> image = np.random.default_rng(0).random((6, 64, 64))
        >>> pair = simulate(image, ratio=2, srf="boxes:3")
        >>> found = align(pair.hsi, pair.msi, psf="mtf:0.3")
        >>> found.displacement.vectors.shape, found.msi().shape
        ((2, 32, 32), (3, 64, 64))
    """
    method = get_method(_METHOD)
    geometry = PairGeometry(psf=psf, ratio=ratio, same_ground=same_ground, displacement=displacement, search=search)
    with showing(progress, "registering") as report:
        report(0.0, "registering the pair")
        source, large = _source(hsi, msi, mask, reading, msi_reading)
        job = FusionJob(
            method=method,
            settings=configure(method, None, 0),
            geometry=geometry,
            device=find_device("cpu"),
            tile=_TILE if large else None,
        )
        match = match_scene(source, job).source.match
        headers = source.hsi.header, source.msi.header
        found = displacement_of(match, *headers, geometry)
        stated = match_headers(*headers, geometry.replace(displacement=None, search=None))
        return RegisteredPair(found, Evidence.of(match, found), match, match.notes, source, stated)


def _source(
    hsi: ImageLike, msi: ImageLike, mask: ImageLike | None, reading: ReadOptions | None, msi_reading: ReadOptions | None
) -> tuple[PairSource, bool]:
    """Return a pair, and whether it is read by windows from files."""
    if _is_files(hsi) and _is_files(msi):
        files = PairFiles(ImageFiles.of("hsi", hsi, reading), ImageFiles.of("msi", msi, msi_reading), None)
        files = files.on_msi_grid()
        with files.named():
            low, high = (_opened(image) for image in files.images if isinstance(image, ImageFiles))
        if mask is not None:
            excluded = ImageFiles.of("mask", mask) if _is_files(mask) else None
            if excluded is None:
                raise InputError("the mask of files is a file", "mask")
            high = masked(high, _opened(excluded), excluded.label)
        return PairSource(low, high, offsets_of(low)), True
    if reading is not None or msi_reading is not None:
        raise InputError("reading and msi_reading are of files; read the images with them", "reading")
    other = as_cube(msi, "msi")
    low_cube, offsets = hsi_cube(hsi, other.header)
    excluded_pixels = None if mask is None else as_excluded(mask, other.header)
    return PairSource.of_cubes(low_cube, other, excluded_pixels, offsets), False


def _is_files(image: ImageLike) -> bool:
    several = isinstance(image, list | tuple)
    return isinstance(image, str | Path) or (several and all(isinstance(one, str | Path) for one in image))


def _opened(image: ImageFiles) -> WindowSource:
    """Open an image by windows, or read it whole."""
    try:
        return image.open()
    except InputError:
        return MemorySource(image.read())
