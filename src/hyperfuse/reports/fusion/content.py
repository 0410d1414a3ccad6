"""The content of a report, checked for consistency."""

from __future__ import annotations

import contextlib
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
from hyperfuse.cube.header import CubeHeader
from hyperfuse.errors import InputError
from hyperfuse.metrics.alignment import reference_on_grid
from hyperfuse.reports.fusion.plots import BandAxis, shorten
from hyperfuse.runtime.memory import peak_bytes
from hyperfuse.scenes.matching.evidence import Evidence
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.srf.coverage import outside_coverage, true_runs
from hyperfuse.version import __version__

if TYPE_CHECKING:
    from hyperfuse.scenes.matching.align import Alignment
    from hyperfuse.scenes.pipeline import Fusion

Array = NDArray[np.float64]

_PACKAGES = ("torch", "numpy", "scipy", "rasterio")
_LEAST_COVERED = 0.5
# In labels of plots.
_LONGEST_UNIT, _LONGEST_NAME = 24, 40


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a result was made: what a reader needs to make it again.

    Attributes:
        command: the exact command, or the call.
        seconds: wall time, or None where unknown.
        peak_memory: bytes, or None where unknown.
        created: date and time.
        versions: of the package and its dependencies, by name.
    """

    command: str = ""
    seconds: float | None = None
    peak_memory: int | None = None
    created: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def this_process(command: str | Sequence[str] = "", seconds: float | None = None) -> Provenance:
    """Describe the current process: its peak memory, the time, and the versions of its dependencies.

    Args:
        command: as text, or as words, which are quoted for a shell.
        seconds: wall time of the work.

    Example:
        >>> this_process(["hyperfuse", "fuse", "my hsi.tif", "msi.tif", "out.tif"]).command
        "hyperfuse fuse 'my hsi.tif' msi.tif out.tif"
    """
    versions = {"hyperfuse": __version__}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # a build without metadata
            versions[name] = version(name)
    versions["Python"] = platform.python_version()
    versions["system"] = f"{platform.system()} {platform.machine()}"
    return Provenance(
        command=command if isinstance(command, str) else shlex.join(command),
        seconds=seconds,
        peak_memory=peak_bytes(),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        versions=versions,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportContent:
    """A fusion, its inputs and its metadata.

    Attributes:
        hsi: LR-HSI as it was fused: cut and aligned, (bands, h, w).
        msi: HR-MSI as it was fused, (msi_bands, H, W).
        fused: the result, (bands, H, W).
        sensor: relates the three: ratio, phase, PSF; with responses (msi_bands, bands) where they are known.
        hsi_name, msi_name, fused_name, reference_name: names of the images, such as those of their files.
        whole_hsi, whole_msi: the inputs as they were read, or their headers; default: ``hsi`` and ``msi``.
        sensor_source: source of the sensor, such as ``sensor.yaml`` or ``estimated from the pair``.
        sensor_notes: sentences on what was estimated and assumed about it.
        msi_gain, msi_offset: (msi_bands,) where the MSI is known to be ``gain * respond(X) + offset``.
        msi_explained: (msi_bands,), fraction of the degraded MSI's variance that the HSI explains, where estimated.
        alignment: the shift that was estimated, or None.
        evidence: where the HSI's pixels lie on the MSI, and on what evidence, or None.
        reference: of the scene of ``fused``, in any orientation and order of bands that both state.
        uncertainty: in the units of ``fused``, on its grid: one band, or one per band of it.
        uncertainty_name: name of the quantity, such as ``standard deviation``.
        points: (row, col) on the fused grid, from 0, whose spectra are shown; default: chosen by :mod:`.close_ups`.
        made: how the result was made.
        warnings: sentences.
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
    whole_hsi: Cube | CubeHeader | None = None
    whole_msi: Cube | CubeHeader | None = None
    sensor_source: str = ""
    sensor_notes: Sequence[str] = ()
    msi_gain: ArrayLike | None = None
    msi_offset: ArrayLike | None = None
    msi_explained: ArrayLike | None = None
    alignment: Alignment | None = None
    evidence: Evidence | None = None
    reference: Cube | None = None
    reference_name: str = "reference"
    uncertainty: Cube | None = None
    uncertainty_name: str = "uncertainty"
    points: Sequence[tuple[int, int]] = ()
    made: Provenance = field(default_factory=Provenance)
    warnings: Sequence[str] = ()
    title: str = ""

    def __post_init__(self) -> None:
        grid, bands = (self.fused.rows, self.fused.cols), self.fused.bands
        if self.reference is not None:
            reference, notes = reference_on_grid(self.fused, self.reference)
            object.__setattr__(self, "reference", reference)
            object.__setattr__(self, "warnings", (*self.warnings, *notes))
        images = {"HSI": self.hsi, "MSI": self.msi, "uncertainty": self.uncertainty}
        for name, cube in images.items():
            if cube is None:
                continue
            same = name == "HSI" or (cube.rows, cube.cols) == grid
            _expect(same, f"the {name} has {cube.rows}x{cube.cols} pixels, the fused image {grid[0]}x{grid[1]}")
            same = name == "MSI" or cube.bands == bands or (name == "uncertainty" and cube.bands == 1)
            _expect(same, f"the {name} has {cube.bands} bands, the fused image {bands}")
        srf = self.sensor.srf
        if srf is not None:
            shape, required = (srf.msi_bands, srf.hsi_bands), (self.msi.bands, self.hsi.bands)
            _expect(shape == required, f"the responses have the shape {shape}, the images require {required}")
        for name in ("msi_gain", "msi_offset", "msi_explained"):
            values = getattr(self, name)
            if values is not None:
                shape = np.shape(values)
                _expect(shape == (self.msi.bands,), f"{name} has the shape {shape} for {self.msi.bands} MSI bands")
        for row, col in self.points:
            _expect(0 <= row < grid[0] and 0 <= col < grid[1], f"the point ({row}, {col}) lies outside the fused image")

    @classmethod
    def of(cls, fusion: Fusion[Any], **fields: Any) -> ReportContent:
        """Return the content of a fusion, or of the part of it that its preview holds.

        Args:
            fusion: with a preview, as ``hf.fuse(..., return_details=True)`` returns it.
            fields: further ones, such as names, ``reference`` (on the grid of the preview), ``made``.

        Raises:
            InputError: a fusion without a preview, or fields that do not fit.
        """
        preview = fusion.preview
        if preview is None:
            raise InputError("the report cannot be written: the fusion holds no preview")
        shared = ("hsi", "msi", "fused", "sensor", "whole_hsi", "whole_msi", "uncertainty")
        derived = {name: getattr(preview, name) for name in shared} | {
            "sensor_notes": tuple(filter(None, (preview.note, *fusion.notes))),
            "alignment": fusion.match.alignment,
            "evidence": None if fusion.displacement is None else Evidence.of(fusion.match, fusion.displacement),
            "uncertainty_name": "expected error (standard deviation)",
        }
        return cls(**{**derived, **fields})

    @property
    def units(self) -> str:
        """Unit of the values, shortened for plots; empty where unknown."""
        return shorten(self.fused.units or self.hsi.units or "", _LONGEST_UNIT)

    def labelled(self, name: str) -> str:
        """Return the name of a quantity with the unit of the images, where it is known."""
        short = shorten(name, _LONGEST_NAME)
        return f"{short} ({self.units})" if self.units else short

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Bands that HSI and fused image both hold, (bands,)."""
        return np.asarray(self.hsi.usable_bands & self.fused.usable_bands)

    @cached_property
    def bands(self) -> BandAxis:
        """The axis of plots over bands: wavelengths where all usable bands have one, else numbers from 1.

        Bands outside the coverage of the MSI are shaded, each up to the midpoints between it and its neighbours.
        """
        centres = self._centres
        positions = np.arange(1.0, self.fused.bands + 1) if centres is None else centres
        order, label = np.argsort(positions, kind="stable"), "band number" if centres is None else "wavelength (nm)"
        usable = positions[order[self.usable[order]]]
        edges = np.concatenate([usable[:1], (usable[1:] + usable[:-1]) / 2, usable[-1:]])
        shaded = [(float(edges[a]), float(edges[b + 1])) for a, b in self.uncovered_runs(order)]
        return BandAxis(positions, order, label, shaded)

    @cached_property
    def response(self) -> Array | None:
        """Responses (msi_bands, bands) over usable bands, rows of sum 1; NaN in rows with little weight on them."""
        if self.sensor.srf is None:
            return None
        matrix = np.where(self.usable, self.sensor.srf.matrix, 0.0)
        total = matrix.sum(axis=1, keepdims=True)
        return np.where(total >= _LEAST_COVERED, matrix / np.maximum(total, _LEAST_COVERED), np.nan)

    @cached_property
    def radiometry(self) -> tuple[Array, Array]:
        """Gain and offset of the MSI relative to ``respond(X)``, (msi_bands,) each; 1 and 0 where unknown."""
        gain = np.ones(self.msi.bands) if self.msi_gain is None else np.asarray(self.msi_gain, np.float64)
        offset = np.zeros(self.msi.bands) if self.msi_offset is None else np.asarray(self.msi_offset, np.float64)
        return gain, offset

    def respond(self, spectrum: NDArray[Any]) -> Array | None:
        """Return the MSI values (msi_bands,) of a spectrum (bands,), without gain and offset; None without SRF."""
        if self.response is None:
            return None
        return np.asarray(self.response @ np.where(self.usable, spectrum, 0.0).astype(np.float64))

    def normalise_msi(self, values: NDArray[Any]) -> Array:
        """Return MSI values (msi_bands,) without gain and offset; NaN where the gain is not positive."""
        gain, offset = self.radiometry
        return np.asarray(np.where(gain > 0, (values - offset) / np.where(gain > 0, gain, 1.0), np.nan))

    @cached_property
    def msi_positions(self) -> Array | None:
        """Positions of the MSI's bands along a plot, (msi_bands,), NaN where unknown; None where none is known."""
        srf = self.sensor.srf
        known = self.msi.wavelengths if srf is None or self.msi.wavelengths is not None else srf.wavelengths
        if self._centres is not None and known is not None:
            return known
        if self.response is None:
            return None
        return np.asarray(self.response @ np.where(self.usable, np.nan_to_num(self.bands.positions), 0.0))

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
        usable, centres, response = self.usable, self._centres, self.response
        found = outside_coverage(
            None if centres is None else centres[usable],
            None if response is None else response[:, usable],
            self.msi.wavelengths,
            self.msi.fwhm,
        )
        outside = np.zeros(usable.size, np.bool_)
        outside[usable] = False if found is None else found
        return None if found is None else outside

    def uncovered_runs(self, order: NDArray[np.intp]) -> list[tuple[int, int]]:
        """Return first and last of each sequence of uncovered bands, as indices into the usable bands in ``order``."""
        return [] if self.uncovered is None else true_runs(self.uncovered[order[self.usable[order]]])

    @cached_property
    def _centres(self) -> Array | None:
        centres = self.fused.wavelengths if self.fused.wavelengths is not None else self.hsi.wavelengths
        return centres if centres is not None and np.isfinite(centres[self.usable]).all() else None


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InputError(f"the report cannot be written: {otherwise}")
