"""What a report is written from, checked to fit together."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperfuse.cube.cube import Cube
from hyperfuse.errors import InputError
from hyperfuse.reports.fusion.markup import printable
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.srf.coverage import outside_coverage
from hyperfuse.version import __version__

if TYPE_CHECKING:
    from hyperfuse.scenes.matching.align import Alignment

Array = NDArray[np.float64]

_PACKAGES = ("torch", "numpy", "scipy", "rasterio")
# A response of which less lies on usable HSI bands cannot be told from them.
_LEAST_SEEN = 0.5
# In labels of plots.
_LONGEST_UNIT, _LONGEST_NAME = 24, 40


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a result was made: what a reader needs to make it again.

    Attributes:
        command: the exact command, or the call.
        seconds: wall time, or None where unknown.
        peak_memory: bytes, or None where unknown.
        created: when, in words or ISO 8601.
        versions: of the package and of those it rests on, by name.
    """

    command: str = ""
    seconds: float | None = None
    peak_memory: int | None = None
    created: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def this_run(command: str | Sequence[str] = "", seconds: float | None = None) -> Run:
    """Describe the running process: its largest memory so far, the time now, and the versions of what it uses.

    Args:
        command: as text, or as words, which are quoted for a shell.
        seconds: wall time of the work.

    Example:
        >>> this_run(["hyperfuse", "fuse", "my hsi.tif", "msi.tif", "out.tif"]).command
        "hyperfuse fuse 'my hsi.tif' msi.tif out.tif"
    """
    versions = {"hyperfuse": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # a build without metadata: nothing is known, nothing is told
            continue
    versions["Python"] = platform.python_version()
    versions["system"] = f"{platform.system()} {platform.machine()}"
    return Run(
        command=command if isinstance(command, str) else shlex.join(command),
        seconds=seconds,
        peak_memory=_peak_memory(),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        versions=versions,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportContent:
    """A fusion and what is known about it.

    Attributes:
        hsi: LR-HSI as it was fused: cut and aligned, (bands, h, w).
        msi: HR-MSI as it was fused, (msi_bands, H, W).
        fused: the result, (bands, H, W).
        sensor: relates the three: ratio, phase, PSF; with responses (msi_bands, bands) where they are known.
        hsi_name, msi_name, fused_name, reference_name: what the images are called, such as names of files.
        whole_hsi, whole_msi: the inputs as they were read; ``hsi`` and ``msi`` unless given.
        sensor_source: where the sensor comes from, such as ``sensor.yaml`` or ``estimated from the pair``.
        sensor_notes: what was found and assumed about it, a sentence each.
        msi_gain, msi_offset: (msi_bands,) where the MSI is known to be ``gain * respond(X) + offset``.
        msi_explained: (msi_bands,), share of the variance of the degraded MSI that the HSI explains, where estimated.
        alignment: the shift that was found, or None where none was looked for.
        reference: the true image, of the shape of ``fused``.
        uncertainty: in the units of ``fused``, on its grid: one band, or one for each of its bands.
        uncertainty_name: what it is, such as ``standard deviation``.
        points: (row, col) on the fused grid, from 0, whose spectra are shown; chosen unless given.
        run: how it was made.
        warnings: those that were given, a sentence each.
        title: heading of the page.

    Raises:
        InputError: images, responses or points that do not fit together.
    """

    hsi: Cube
    msi: Cube
    fused: Cube
    sensor: Sensor
    hsi_name: str = "HSI"
    msi_name: str = "MSI"
    fused_name: str = "fused image"
    whole_hsi: Cube | None = None
    whole_msi: Cube | None = None
    sensor_source: str = ""
    sensor_notes: Sequence[str] = ()
    msi_gain: ArrayLike | None = None
    msi_offset: ArrayLike | None = None
    msi_explained: ArrayLike | None = None
    alignment: Alignment | None = None
    reference: Cube | None = None
    reference_name: str = "reference"
    uncertainty: Cube | None = None
    uncertainty_name: str = "uncertainty"
    points: Sequence[tuple[int, int]] = ()
    run: Run = field(default_factory=Run)
    warnings: Sequence[str] = ()
    title: str = ""

    def __post_init__(self) -> None:
        fused = self.fused
        _expect(self.hsi.bands == fused.bands, f"the HSI has {self.hsi.bands} bands, the fused image {fused.bands}")
        grid = (fused.rows, fused.cols)
        for cube, name in ((self.msi, "MSI"), (self.reference, "reference"), (self.uncertainty, "uncertainty")):
            if cube is not None:
                found = (cube.rows, cube.cols)
                _expect(
                    found == grid, f"the {name} has {found[0]}x{found[1]} pixels, the fused image {grid[0]}x{grid[1]}"
                )
        if self.reference is not None:
            bands = self.reference.bands
            _expect(bands == fused.bands, f"the reference has {bands} bands, the fused image {fused.bands}")
        if self.uncertainty is not None:
            bands = self.uncertainty.bands
            _expect(bands in (1, fused.bands), f"the uncertainty has {bands} bands, not 1 or {fused.bands}")
        srf = self.sensor.srf
        if srf is not None:
            shape, wanted = (srf.msi_bands, srf.hsi_bands), (self.msi.bands, self.hsi.bands)
            _expect(shape == wanted, f"the responses have the shape {shape}, the images ask for {wanted}")
        for name in ("msi_gain", "msi_offset", "msi_explained"):
            values = getattr(self, name)
            if values is not None:
                shape = np.shape(values)
                _expect(shape == (self.msi.bands,), f"{name} has the shape {shape} for {self.msi.bands} MSI bands")
        for row, col in self.points:
            _expect(0 <= row < grid[0] and 0 <= col < grid[1], f"the point ({row}, {col}) lies outside the fused image")

    @property
    def units(self) -> str:
        """The unit of the values, short enough for a plot; no text where it is not known."""
        return _short(self.fused.units or self.hsi.units or "", _LONGEST_UNIT)

    def labelled(self, name: str) -> str:
        """Return the name of a quantity with the unit of the images, where it is known."""
        short = _short(name, _LONGEST_NAME)
        return f"{short} ({self.units})" if self.units else short

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Bands that HSI and fused image both hold, (bands,)."""
        return np.asarray(self.hsi.usable_bands & self.fused.usable_bands)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """The bands in the order in which plots show them: by wavelength where all usable ones have one."""
        centres = self._centres
        return np.arange(self.fused.bands) if centres is None else np.argsort(centres, kind="stable")

    @property
    def positions(self) -> Array:
        """Where the bands lie along a plot, (bands,): wavelengths in nm, or numbers from 1."""
        centres = self._centres
        return np.arange(1.0, self.fused.bands + 1) if centres is None else centres

    @property
    def axis_label(self) -> str:
        """What :attr:`positions` are."""
        return "band number" if self._centres is None else "wavelength (nm)"

    @cached_property
    def response(self) -> Array | None:
        """Responses (msi_bands, bands) over usable bands, rows of sum 1; NaN in rows that lie mostly elsewhere."""
        if self.sensor.srf is None:
            return None
        matrix = np.where(self.usable, self.sensor.srf.matrix, 0.0)
        total = matrix.sum(axis=1, keepdims=True)
        return np.where(total >= _LEAST_SEEN, matrix / np.maximum(total, _LEAST_SEEN), np.nan)

    @cached_property
    def levels(self) -> tuple[Array, Array]:
        """Gain and offset of the MSI against ``respond(X)``, (msi_bands,) each; 1 and 0 where none are known."""
        gain = np.ones(self.msi.bands) if self.msi_gain is None else np.asarray(self.msi_gain, np.float64)
        offset = np.zeros(self.msi.bands) if self.msi_offset is None else np.asarray(self.msi_offset, np.float64)
        return gain, offset

    def project(self, spectrum: NDArray[Any]) -> Array | None:
        """Return what the MSI would show of a spectrum (bands,) at the HSI's levels, (msi_bands,); None without SRF."""
        if self.response is None:
            return None
        return np.asarray(self.response @ np.where(self.usable, spectrum, 0.0).astype(np.float64))

    def at_hsi_levels(self, values: NDArray[Any]) -> Array:
        """Return values of the MSI (msi_bands,) without its own gain and offset; NaN where a gain makes no sense."""
        gain, offset = self.levels
        return np.asarray(np.where(gain > 0, (values - offset) / np.where(gain > 0, gain, 1.0), np.nan))

    @cached_property
    def msi_positions(self) -> Array | None:
        """Where the MSI's bands lie along a plot, (msi_bands,), NaN where unknown; None where nothing tells."""
        srf = self.sensor.srf
        if self._centres is not None:
            for known in (self.msi.wavelengths, None if srf is None else srf.wavelengths):
                if known is not None:
                    return known
        if self.response is None:
            return None
        return np.asarray(self.response @ np.where(self.usable, np.nan_to_num(self.positions), 0.0))

    @property
    def msi_band_names(self) -> tuple[str, ...]:
        """A name for each band of the MSI."""
        if self.msi.band_names is not None:
            return self.msi.band_names
        srf = self.sensor.srf
        return srf.names if srf is not None else tuple(f"band {index + 1}" for index in range(self.msi.bands))

    @cached_property
    def uncovered(self) -> NDArray[np.bool_] | None:
        """Usable bands outside the spectral coverage of the MSI, (bands,); None where it is not known."""
        centres = None if self._centres is None else self._centres[self.usable]
        responses = None if self.response is None else self.response[:, self.usable]
        outside = outside_coverage(centres, responses, self.msi.wavelengths, self.msi.fwhm)
        if outside is None:
            return None
        every = np.zeros(self.usable.size, np.bool_)
        every[self.usable] = outside
        return every

    @cached_property
    def _centres(self) -> Array | None:
        centres = self.fused.wavelengths if self.fused.wavelengths is not None else self.hsi.wavelengths
        return centres if centres is not None and np.isfinite(centres[self.usable]).all() else None


def _short(text: str, longest: int) -> str:
    clean = " ".join(printable(text).split())
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InputError(f"the report cannot be written: {otherwise}")


def _peak_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(largest if platform.system() == "Darwin" else largest * 1024)
