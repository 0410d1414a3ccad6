"""Sensor: the forward model of a pair, ``hsi = degrade(X)`` and ``msi = respond(X)``, with exact adjoints."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import TypeAdapter, ValidationError

from hyperfuse.calls import checked, checked_fields
from hyperfuse.errors import InputError
from hyperfuse.runtime.tensors import as_tensor
from hyperfuse.sensor.axis import (
    AxisOperator,
    AxisProfile,
    Boundary,
    check_reach,
    interpolation_operator,
    sampling_operator,
)
from hyperfuse.sensor.detectors import Detector, check_detectors
from hyperfuse.sensor.displacement import Displacement, Floats
from hyperfuse.sensor.psf import Psf, number_pair, ratio_pair
from hyperfuse.sensor.scattered import ScatteredOperator, scattered_interpolation, scattered_sampling
from hyperfuse.sensor.srf.srf import Srf
from hyperfuse.settings import describe
from hyperfuse.yaml_text import load_yaml, save_yaml

T = TypeVar("T")
Shape = tuple[int, int]
_PSF_ADAPTER: TypeAdapter[Psf] = TypeAdapter(Psf)


@checked_fields("ratio", "phase")
@dataclass(frozen=True, eq=False, kw_only=True)
class Sensor:
    """How an image ``X`` (bands, H, W) becomes the LR-HSI (bands, h, w) and the HR-MSI (msi_bands, H, W).

    Sample (i, j) of the LR-HSI is the PSF-weighted mean around the HR position ``phase + ratio * (i, j)``, counted
    in HR pixels from the centre of pixel (0, 0). Any PSF, ratio and phase give a linear operator whose adjoint is
    exact to rounding. Tensors keep their dtype and device, and gradients flow.

    Attributes:
        ratio: HR pixels per LR pixel along (y, x); 1 or more, not necessarily whole.
        phase: HR position of the first LR sample along (y, x); default: ``(ratio - 1) / 2``, blocks aligned with the
            HR image's corner.
        psf: the blur.
        srf: spectral responses of the MSI, or None where unknown (then ``respond`` is refused).
        boundary: how the image continues beyond its border: ``reflect`` or ``circular``.
        displacement: of the LR samples from these positions, or None: sample (i, j) then lies at
            ``phase + ratio * (i, j) + displacement.at(i, j)``. Where it stretches the image, it stretches the PSF: the
            HSI saw ground that is warped in the MSI.
        detectors: of the HSI where their samples lie apart: positions hold for all of them but for a shift of each.
            Operators of this sensor are at the common positions, those of :meth:`by_detector` at their own.
    """

    ratio: tuple[float, float]
    psf: Psf
    phase: tuple[float, float] | None = None
    srf: Srf | None = None
    boundary: Boundary = "reflect"
    displacement: Displacement | None = None
    detectors: tuple[Detector, ...] = ()
    _operators: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        ratio = ratio_pair(self.ratio)
        object.__setattr__(self, "ratio", ratio)
        phase = ((ratio[0] - 1) / 2, (ratio[1] - 1) / 2) if self.phase is None else number_pair(self.phase, "phase")
        object.__setattr__(self, "phase", phase)
        if self.boundary not in ("reflect", "circular"):
            raise InputError(f"no boundary {self.boundary!r}; write reflect or circular")
        check_detectors(self.detectors)
        if self.displacement is not None and self.displacement.folds(ratio):
            raise InputError(
                "the displacement folds: neighbouring LR samples change their order; make it smoother",
                parameter="displacement",
            )

    @property
    def offset(self) -> tuple[float, float]:
        """The phase along (y, x), as numbers."""
        assert self.phase is not None  # set on construction
        return self.phase

    @property
    def mean_ratio(self) -> float:
        """Geometric mean of the ratios along y and x."""
        return math.sqrt(self.ratio[0] * self.ratio[1])

    @property
    def reach(self) -> tuple[float, float]:
        """Radius of the PSF in HR pixels along y and x."""
        factors = self.psf.factors()
        return max(factor.y.radius for factor in factors), max(factor.x.radius for factor in factors)

    def lr_shape(self, shape: Shape) -> Shape:
        """Return the (rows, cols) of the LR image whose pixels lie wholly inside the HR ``shape``."""
        rows, cols = (math.floor(size / ratio + 1e-6) for size, ratio in zip(shape, self.ratio, strict=True))
        if min(rows, cols) < 1:
            raise InputError(f"an image of {shape[0]}x{shape[1]} pixels holds no LR pixel at the ratio {self.ratio}")
        return rows, cols

    def positions(self, lr_shape: Shape) -> Floats:
        """Return the HR positions (2, h, w), along y and x, of the samples of an LR image of ``lr_shape`` (h, w)."""
        regular = [
            phase + ratio * np.arange(size)
            for phase, ratio, size in zip(self.offset, self.ratio, lr_shape, strict=True)
        ]
        positions = np.stack(np.meshgrid(*regular, indexing="ij"))
        if self.displacement is not None:
            positions += self.displacement.at(*map(np.arange, lr_shape))
        return positions

    def inverse_positions(self, shape: Shape) -> Floats:
        """Return the LR positions (2, H, W), row and column, not whole, of the pixels of an HR image of ``shape``."""
        return self._cached(("inverse", shape), lambda: self.inverse_at(np.arange(shape[0]), np.arange(shape[1])))

    def inverse_at(self, rows: ArrayLike, cols: ArrayLike) -> Floats:
        """Return the LR positions (2, n, m) of HR positions on a grid of lines along y, (n,), and along x, (m,)."""
        lines = [
            (np.asarray(at, np.float64) - phase) / ratio
            for phase, ratio, at in zip(self.offset, self.ratio, (rows, cols), strict=True)
        ]
        if self.displacement is None:
            return np.stack(np.meshgrid(*lines, indexing="ij"))
        return self.displacement.invert(lines[0], lines[1], self.ratio)

    def at_phase(self, image: torch.Tensor, phase: tuple[float, float]) -> torch.Tensor:
        """Interpolate an LR image (..., h, w) cubically where samples without displacement, at ``phase``, lie."""
        coarse = (image.shape[-2], image.shape[-1])
        lines = [start + ratio * np.arange(size) for start, ratio, size in zip(phase, self.ratio, coarse, strict=True)]
        make = functools.partial(scattered_interpolation, coarse, kernel="cubic")
        return self._cached(("at", coarse, phase), lambda: make(self.inverse_at(lines[0], lines[1])))(image)

    def regular(self, lr_shape: Shape) -> Sensor:
        """Return the sensor without displacement that is nearest to this one over an LR image of ``lr_shape``."""
        if self.displacement is None:
            return self
        y, x = self.displacement.at(*map(np.arange, lr_shape)).mean(axis=(1, 2)).tolist()
        return self.replace(phase=(self.offset[0] + y, self.offset[1] + x), displacement=None)

    def window(self, first: Shape, phase: tuple[float, float]) -> Sensor:
        """Return the sensor of a window whose first LR pixel is ``first``, at ``phase`` in its HR pixels."""
        displacement = None if self.displacement is None else self.displacement.moved(first)
        return self.replace(phase=phase, displacement=displacement)

    def by_detector(self) -> list[tuple[list[int], Sensor]]:
        """Return for each detector the indices of its bands and its sensor, without responses."""
        alone = self.replace(srf=None, detectors=())
        return [(list(one.bands), alone.replace(phase=one.moved(self.offset))) for one in self.detectors]

    def degrade(self, image: torch.Tensor | ArrayLike, shape: Shape | None = None) -> torch.Tensor:
        """Blur and sample: (..., H, W) to (..., h, w), with ``shape = (h, w)``; default: :meth:`lr_shape`.

        An array or a cube is taken as a tensor of its memory; the result is a tensor.
        """
        image = as_tensor(image)
        size = (image.shape[-2], image.shape[-1])
        if self.displacement is not None:
            return self._scattered(size, shape or self.lr_shape(size))(image)
        operators = self.sampling(size, shape or self.lr_shape(size))
        return functools.reduce(torch.add, (along_x(along_y(image, -2), -1) for along_y, along_x in operators))

    def degrade_adjoint(self, image: torch.Tensor, shape: Shape) -> torch.Tensor:
        """Apply the transpose of :meth:`degrade`: (..., h, w) to (..., H, W) with ``shape = (H, W)``."""
        if self.displacement is not None:
            return self._scattered(shape, (image.shape[-2], image.shape[-1])).adjoint(image)
        operators = self.sampling(shape, (image.shape[-2], image.shape[-1]))
        terms = (along_y.transposed(along_x.transposed(image, -1), -2) for along_y, along_x in operators)
        return functools.reduce(torch.add, terms)

    def upsample(self, image: torch.Tensor, shape: Shape, kernel: Literal["linear", "cubic"] = "cubic") -> torch.Tensor:
        """Interpolate (..., h, w) at every HR pixel, with regard to the samples' positions.

        A linear ramp keeps its position; with a displacement, a ramp over the LR pixels does. ``shape`` is (H, W);
        ``cubic`` is the kernel of Keys with a = -1/2.
        """
        if self.displacement is not None:
            coarse = (image.shape[-2], image.shape[-1])
            return self._cached(
                ("up", kernel, coarse, shape),
                lambda: scattered_interpolation(coarse, self.inverse_positions(shape), kernel),
            )(image)
        for axis in (-2, -1):
            sizes = image.shape[axis], shape[axis]
            make = functools.partial(
                interpolation_operator, *sizes, ratio=self.ratio[axis], phase=self.offset[axis], kernel=kernel
            )
            image = self._cached(("up", kernel, axis, *sizes), make)(image, axis)
        return image

    def respond(self, image: torch.Tensor | ArrayLike) -> torch.Tensor:
        """Apply the spectral responses: (..., bands, rows, cols) to (..., msi_bands, rows, cols).

        Raises:
            InputError: the responses are not known, or are for another number of bands.
        """
        image = as_tensor(image)
        matrix = self._response(image)
        bands = image.shape[-3] if image.ndim > 2 else 1
        if bands != matrix.shape[1]:
            raise InputError(f"the spectral responses are for {matrix.shape[1]} bands, the image has {bands}")
        return _mix(matrix, image)

    def respond_adjoint(self, image: torch.Tensor) -> torch.Tensor:
        """Apply the transpose of :meth:`respond`: (..., msi_bands, rows, cols) to (..., bands, rows, cols)."""
        matrix = self._response(image)
        if image.shape[-3] != matrix.shape[0]:
            raise InputError(f"the spectral responses make {matrix.shape[0]} bands, the image has {image.shape[-3]}")
        return _mix(matrix.T, image)

    def replace(self, **changes: Any) -> Sensor:
        """Return a copy with the given fields changed; see the attributes."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a YAML or JSON file; :meth:`from_dict` reads them back."""
        some: dict[str, Any] = {} if self.displacement is None else {"displacement": self.displacement.to_dict()}
        some |= {"detectors": [one.to_dict() for one in self.detectors]} if self.detectors else {}
        return {
            "ratio": list(self.ratio),
            "phase": list(self.offset),
            "boundary": self.boundary,
            "psf": self.psf.model_dump(mode="json", exclude_none=True),
            "srf": None if self.srf is None else self.srf.to_dict(),
            **some,
        }

    def to_record(self) -> dict[str, Any]:
        """Return plain values of bounded size for a history: of the responses their source, of a displacement its size.

        The control values of a displacement are among them where they are few.
        """
        displacement = {} if self.displacement is None else {"displacement": self.displacement.to_record()}
        return {**self.to_dict(), "srf": None if self.srf is None else self.srf.source, **displacement}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Sensor:
        """Build a sensor from ``ratio``, ``psf`` (with ``kind``) and what else :meth:`to_dict` returns, if any.

        Raises:
            InputError: a key is missing, unknown or wrong.
        """
        optional = ("phase", "srf", "boundary", "displacement", "detectors")
        if not isinstance(values, Mapping):
            raise InputError(f"a sensor is a mapping with the keys ratio, psf and optionally {', '.join(optional)}")
        keys = ("ratio", "psf", *optional)
        unknown = {str(key) for key in values} - set(keys)
        missing = {"ratio", "psf"} - set(values)
        if unknown or missing:
            what = f"unknown key {sorted(unknown)[0]!r}" if unknown else f"the key {sorted(missing)[0]!r} is missing"
            raise InputError(f"{what} in the sensor; keys are {', '.join(keys)}")
        try:
            psf = _PSF_ADAPTER.validate_python(values["psf"])
        except ValidationError as error:
            raise InputError(f"the sensor is wrong: {describe(error, Psf, root='psf')}") from None
        srf, displacement = values.get("srf"), values.get("displacement")
        return cls(
            ratio=values["ratio"],
            phase=values.get("phase"),
            psf=psf,
            srf=None if srf is None else Srf.from_dict(srf),
            boundary=values.get("boundary", "reflect"),
            displacement=None if displacement is None else Displacement.from_dict(displacement),
            detectors=tuple(Detector.from_dict(one) for one in values.get("detectors") or ()),
        )

    @checked
    def save(self, path: str | Path) -> None:
        """Write the sensor as YAML.

        Raises:
            InputError: a path that cannot be written to.
        """
        save_yaml(path, self.to_dict())

    @classmethod
    @checked
    def load(cls, path: str | Path) -> Sensor:
        """Read a sensor that :meth:`save` wrote, or one written by hand.

        Raises:
            InputError: no such file, not YAML, or not a sensor.
        """
        values = load_yaml(path)
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def sampling(self, fine: Shape, coarse: Shape) -> list[tuple[AxisOperator, AxisOperator]]:
        """Return the operators along y and x from ``fine`` to ``coarse`` (rows, cols), a pair for each PSF factor.

        Raises:
            InputError: displaced samples have no operators along the axes.
        """
        if self.displacement is not None:
            raise InputError("samples of a displaced sensor are not regular along y and x", parameter="displacement")

        def along(profile: AxisProfile, axis: int) -> AxisOperator:
            ratio, phase = self.ratio[axis], self.offset[axis]
            return sampling_operator(
                fine[axis], coarse[axis], profile, ratio=ratio, phase=phase, boundary=self.boundary
            )

        return self._cached(
            ("down", fine, coarse), lambda: [(along(factor.y, 0), along(factor.x, 1)) for factor in self.psf.factors()]
        )

    def _scattered(self, fine: Shape, coarse: Shape) -> ScatteredOperator:
        """Return the operator of displaced samples."""
        factors = [(factor.y, factor.x) for factor in self.psf.factors()]
        for axis in (0, 1):
            check_reach(max(factor[axis].radius for factor in factors), fine[axis])
        return self._cached(
            ("scattered", fine, coarse),
            lambda: scattered_sampling(fine, self.positions(coarse), self._stretch(coarse), factors, self.boundary),
        )

    def _stretch(self, lr_shape: Shape) -> Floats:
        """Return how the displacement stretches the image around every sample, (2, 2, h, w)."""
        assert self.displacement is not None
        slopes = self.displacement.slopes(*map(np.arange, lr_shape)) / np.reshape(self.ratio, (1, 2, 1, 1))
        return np.asarray(slopes + np.eye(2)[:, :, None, None])

    def _response(self, image: torch.Tensor) -> torch.Tensor:
        if self.srf is None:
            raise InputError("the spectral responses of the MSI are not known; give them as srf=")
        matrix = self.srf.matrix
        with torch.inference_mode(False):  # cached for later calls, which may train
            return self._cached(
                ("srf", image.dtype, image.device),
                lambda: torch.as_tensor(matrix, dtype=image.dtype, device=image.device),
            )

    def _cached(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        if key not in self._operators:
            self._operators[key] = make()
        made: T = self._operators[key]
        return made


def _mix(matrix: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return (matrix @ image.flatten(-2)).reshape(*image.shape[:-3], matrix.shape[0], *image.shape[-2:])
