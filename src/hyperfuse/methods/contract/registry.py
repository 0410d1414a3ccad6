"""What a fusion method is, and the table of those there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from pydantic import ValidationError

from hyperfuse.errors import InputError, nearest_name
from hyperfuse.progress import Progress, silent
from hyperfuse.sensor.model import Sensor
from hyperfuse.settings import Settings, describe

__all__ = [
    "WHOLE",
    "Extent",
    "Method",
    "MethodSettings",
    "Outcome",
    "Progress",
    "Sample",
    "get_method",
    "list_methods",
    "register_method",
    "silent",
]


class MethodSettings(Settings):
    """Base of every method's settings."""


@dataclass(frozen=True)
class Outcome:
    """What a method gives beside the image.

    Attributes:
        image: the fused image (bands, H, W).
        uncertainty: standard deviation of its error that the method expects, (bands, H, W), or None.
        details: plain values about the run that belong into the image's history.
    """

    image: torch.Tensor
    uncertainty: torch.Tensor | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


# First and last row, first and last column of a part (centres of HR pixels) where those of the scene are -1 and 1.
Extent = tuple[float, float, float, float]
WHOLE: Extent = (-1.0, 1.0, -1.0, 1.0)


class Sample(NamedTuple):
    """A part of a scene: LR-HSI (bands, h, w), HR-MSI (msi_bands, H, W), the sensor that relates them, and where."""

    hsi: torch.Tensor
    msi: torch.Tensor
    sensor: Sensor
    extent: Extent = WHOLE


SettingsT = TypeVar("SettingsT", bound=MethodSettings)
Fused = torch.Tensor | Outcome
Run = Callable[..., Fused]
RunT = TypeVar("RunT", bound=Run)
Prepare = Callable[[Sequence[Sample], Any, Progress], Any]


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes:
        name: what ``--method`` takes.
        run: ``(hsi, msi, sensor, settings, progress) -> fused`` on tensors (bands, rows, cols) of one floating dtype
            and device; gaps are filled before and cut after by the caller. ``fused`` is the image, or an
            :class:`Outcome`.
        settings: class of its settings.
        summary: one line.
        reference: the paper it is built from.
        cost: ``seconds`` or ``minutes`` for a 512x512x31 image on two cores.
        needs_srf: whether the spectral responses of the MSI must be known.
        prepare: ``(samples, settings, progress) -> learned``: what the parts of a large scene share, learnt on some
            of them; ``run`` then takes it as its last argument ``learned``. None where parts share nothing. If it has
            a method ``at(extent)``, a part takes what that gives for its place.
        learned: the dataclasses that ``learned`` is made of, beside tensors and plain values: what may be read back.
    """

    name: str
    run: Run
    settings: type[MethodSettings]
    summary: str
    reference: str
    cost: Literal["seconds", "minutes"]
    needs_srf: bool
    prepare: Prepare | None = None
    learned: tuple[type, ...] = ()

    def configure(self, **values: Any) -> MethodSettings:
        """Build the method's settings from keyword values.

        Raises:
            InputError: an unknown setting or a value out of range, in one line.
        """
        try:
            return self.settings(**values)
        except ValidationError as error:
            text = describe(error, self.settings, noun="setting")
            raise InputError(f"method {self.name!r}: {text}", parameter="settings") from None

    def __call__(
        self,
        hsi: torch.Tensor,
        msi: torch.Tensor,
        sensor: Sensor,
        settings: MethodSettings | None = None,
        progress: Progress = silent,
    ) -> torch.Tensor:
        """Fuse one pair and return the image; see :meth:`fuse`."""
        return self.fuse(hsi, msi, sensor, settings, progress).image

    def fuse(
        self,
        hsi: torch.Tensor,
        msi: torch.Tensor,
        sensor: Sensor,
        settings: MethodSettings | None = None,
        progress: Progress = silent,
        learned: Any = None,
    ) -> Outcome:
        """Fuse one pair, checked first.

        Args:
            hsi: LR-HSI (bands, h, w), finite, floating.
            msi: HR-MSI (msi_bands, H, W), same dtype and device, finite.
            sensor: the forward model of the pair.
            settings: of this method's class; its defaults if None.
            progress: see :class:`Progress`.
            learned: what :attr:`prepare` has found for the scene that this pair is a part of, or None.

        Returns:
            The fused image (bands, H, W), same dtype and device, and what the method tells beside it.

        Raises:
            InputError: shapes, types or values that do not fit together.
        """
        _check_pair(hsi, msi, sensor)
        if self.needs_srf and sensor.srf is None:
            raise InputError(f"the method {self.name} needs the spectral responses of the MSI; give them (--srf)")
        chosen = self.configure() if settings is None else settings
        if not isinstance(chosen, self.settings):
            raise InputError(f"the method {self.name} takes {self.settings.__name__}, got {type(chosen).__name__}")
        shared = () if learned is None else (learned,)
        fused = self.run(hsi, msi, sensor, chosen, progress, *shared)
        return fused if isinstance(fused, Outcome) else Outcome(fused)


_METHODS: dict[str, Method] = {}


def register_method(
    name: str,
    *,
    settings: type[SettingsT],
    summary: str,
    reference: str,
    cost: Literal["seconds", "minutes"],
    needs_srf: bool = False,
    prepare: Callable[[Sequence[Sample], SettingsT, Progress], Any] | None = None,
    learned: tuple[type, ...] = (),
) -> Callable[[RunT], RunT]:
    """Return the decorator that puts a function into the table under ``name``; see :class:`Method`."""

    def register(run: RunT) -> RunT:
        if name in _METHODS:
            raise ValueError(f"a method {name!r} is registered already")
        _METHODS[name] = Method(name, run, settings, summary, reference, cost, needs_srf, prepare, learned)
        return run

    return register


def get_method(name: str) -> Method:
    """Return the method of that name.

    Raises:
        InputError: there is none; the nearest name is told.
    """
    if name not in _METHODS:
        raise InputError(f"no method {name!r}{nearest_name(name, _METHODS)}")
    return _METHODS[name]


def list_methods() -> list[Method]:
    """Return every registered method, by name."""
    return [_METHODS[name] for name in sorted(_METHODS)]


def _check_pair(hsi: torch.Tensor, msi: torch.Tensor, sensor: Sensor) -> None:
    for name, image in (("HSI", hsi), ("MSI", msi)):
        if image.ndim != 3 or 0 in image.shape:
            raise InputError(f"the {name} has the shape {tuple(image.shape)}; (bands, rows, cols) is needed")
        if not image.is_floating_point():
            raise InputError(f"the {name} holds {image.dtype}; floating-point values are needed")
        if not bool(torch.isfinite(image).all()):
            raise InputError(f"the {name} holds NaN or infinite values that are not declared as gaps (--nodata nan)")
    if hsi.dtype != msi.dtype or hsi.device != msi.device:
        raise InputError(f"HSI and MSI differ in type or device ({hsi.dtype}, {hsi.device}; {msi.dtype}, {msi.device})")
    for axis, name in ((0, "rows"), (1, "columns")):
        coarse, fine = hsi.shape[axis + 1], msi.shape[axis + 1]
        last = sensor.offset[axis] + sensor.ratio[axis] * (coarse - 1)
        # Every sample belongs to the image, and no LR pixel is missing where the image goes on.
        reach = 1.5 * sensor.ratio[axis]
        starts = -sensor.ratio[axis] < sensor.offset[axis] < reach
        if not (starts and -reach < last - (fine - 1) < sensor.ratio[axis]):
            raise InputError(f"{coarse} HSI {name} at a ratio of {sensor.ratio[axis]:g} do not fit {fine} MSI {name}")
    if sensor.srf is not None and sensor.srf.matrix.shape != (msi.shape[0], hsi.shape[0]):
        made, read = sensor.srf.matrix.shape
        raise InputError(
            f"the spectral responses turn {read} bands into {made};"
            f" the HSI has {hsi.shape[0]} and the MSI {msi.shape[0]}"
        )
