"""A window of a scene: read, normalised, its gaps filled, fused, and cut to what is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hyperfuse.errors import InputError
from hyperfuse.methods.contract.method import Extent, Method, MethodSettings, Model, Outcome, PairTensors
from hyperfuse.progress import Progress, silent
from hyperfuse.runtime.tensors import tensor_of
from hyperfuse.scenes.gaps import GappyPair, GapRegression, fill_gaps
from hyperfuse.scenes.matching.blind import Match
from hyperfuse.scenes.source import MatchedSource, PairSource
from hyperfuse.scenes.tiling.crop import DataPart
from hyperfuse.scenes.tiling.plan import MSI_REACH, Tile
from hyperfuse.scenes.tiling.store import Store
from hyperfuse.sensor.detectors import restrict_detectors
from hyperfuse.sensor.model import Sensor
from hyperfuse.sensor.srf.restrict import restrict_responses

_OVERHANG = 1.0  # HR pixels by which a displaced LR pixel may extend beyond the MSI


@dataclass(frozen=True)
class WindowPair:
    """What a tile reads, restricted to its part that holds data.

    Attributes:
        pair: tensors, the MSI normalised; gaps hold any finite value.
        valid: bool (bands, rows, cols) of the whole tile, False in gaps.
        part: rows and columns of the part in it.
        extent: position of the part in the scene.
    """

    pair: GappyPair
    valid: NDArray[np.bool_]
    part: tuple[slice, slice]
    extent: Extent

    def filled(self, regression: GapRegression | None) -> PairTensors:
        """Return the pair with its gaps filled."""
        return PairTensors(*fill_gaps(self.pair, regression), self.pair.sensor, self.extent)


# A window that was read, and its tensors.
ReadyWindow = tuple[WindowPair, PairTensors]


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene of which windows are fused: everything that holds for all of them.

    Attributes:
        source: read from.
        bands: bool, HSI bands that are used.
        msi_bands: bool, MSI bands that are used.
        method: to fuse with.
        settings: of the method.
        device: to compute on.
        gaps: by which gaps are filled; None where too little is known, or there are none.
        model: fitted to samples of the scene; None where every window is fitted by itself.
        notes: what was decided, for the record.
        window_seconds: wall time for each window where there is a budget and no model.
    """

    source: MatchedSource
    bands: NDArray[np.bool_]
    msi_bands: NDArray[np.bool_]
    method: Method[Any]
    settings: MethodSettings
    device: torch.device
    gaps: GapRegression | None = None
    model: Model | None = None
    notes: tuple[str, ...] = ()
    window_seconds: float | None = None

    @property
    def sensor(self) -> Sensor:
        """The sensor of the scene, with responses between the bands that are used, and their detectors."""
        whole = self.source.match.sensor
        return whole.replace(
            srf=restrict_responses(whole.srf, self.msi_bands, self.bands),
            detectors=restrict_detectors(whole.detectors, self.bands),
        )

    def read(self, tile: Tile) -> WindowPair | None:
        """Read what a tile needs; None where none of its output holds data, mostly without reading."""
        if not self.source.may_hold_data(tile):
            return None
        hsi, hsi_doubted = self.source.read_declared_hsi(tile.lr)
        shape = (int(self.bands.sum()), hsi.rows, hsi.cols)
        hsi_valid = np.ones(shape, np.bool_) if hsi.valid is None else hsi.valid[self.bands]
        if not hsi_valid.any():
            return None
        msi, msi_doubted = self.source.read_declared_msi(tile.hr)
        msi_valid = np.ones((msi.rows, msi.cols), np.bool_)
        if msi.valid is not None:
            msi_valid = np.asarray(msi.valid[self.msi_bands].all(axis=0))
        sensor = tile.sensor(self.sensor)
        valid = at_hr_pixels(hsi_valid, msi_valid.shape, sensor) & msi_valid
        # What lies off the MSI says nothing of it, although what lies on it may be nearest to that.
        hsi_valid = hsi_valid & on_msi(hsi_valid.shape[1:], msi_valid.shape, sensor)
        # One image stands in where the other is taken for a gap that nothing declares; where both are, nothing does.
        if hsi_doubted is not None:
            hsi_valid = hsi_valid & ~hsi_doubted
            if msi_doubted is not None:
                valid &= ~(at_hr_pixels(hsi_doubted, msi_valid.shape, sensor) & msi_doubted)
        if msi_doubted is not None:
            msi_valid = msi_valid & ~msi_doubted
        if not valid[:, *tile.written].any():
            return None
        area = DataPart.around(np.asarray(valid.any(axis=0)), (hsi.rows, hsi.cols), sensor)
        low = self._tensor("HSI", hsi.data[self.bands][:, *area.lr])
        high = self._tensor("MSI", msi.data[self.msi_bands][:, *area.hr])
        if self.source.match.radiometry is not None:
            high = self.source.match.radiometry.normalise(high, self.msi_bands)
        known = (tensor_of(np.ascontiguousarray(one)).to(self.device)
                 for one in (hsi_valid[:, *area.lr], msi_valid[area.hr]))  # fmt: skip
        pair = GappyPair(low, next(known), high, next(known), area.sensor)
        return WindowPair(pair, valid, area.hr, self._extent(tile, area.hr))

    def _tensor(self, name: str, values: NDArray[Any]) -> torch.Tensor:
        image = torch.from_numpy(np.nan_to_num(values, nan=0.0))
        if image.dtype == torch.float64 and float(image.abs().max()) > torch.finfo(torch.float32).max:
            raise InputError(
                f"the {name} holds values up to {float(image.abs().max()):.3g}, beyond what float32 can hold, in which "
                "images are fused; give a smaller scale=, or nodata= where they mark gaps"
            )
        return image.float().to(self.device)

    def _extent(self, tile: Tile, area: tuple[slice, slice]) -> Extent:
        """Return where a part of a tile lies in the scene."""
        ends = []
        for start, along, size in zip(tile.hr[:2], area, self.source.match.msi[2:], strict=True):
            ends += [2 * (start + at) / max(size - 1, 1) - 1 for at in (along.start, along.stop - 1)]
        return (ends[0], ends[1], ends[2], ends[3])

    def fuse(self, pair: PairTensors, progress: Progress = silent) -> Outcome:
        """Fuse a window.

        Raises:
            InputError: the method gave values that are not finite.
        """
        if self.model is None:
            budget = {} if self.window_seconds is None else {"budget_seconds": self.window_seconds}
            outcome = self.method.fuse(pair, self.settings.model_copy(update=budget), progress)
        else:
            outcome = self.model.apply(pair, progress)
        exponent = self.source.match.exponent
        if exponent:
            image, uncertainty = (
                None if one is None else torch.ldexp(one.double(), torch.tensor(exponent)).to(one.dtype)
                for one in (outcome.image, outcome.uncertainty)
            )
            assert image is not None
            outcome = Outcome(image, uncertainty, outcome.details)
        # A sum is finite only where all it is of is finite; the opposite is not certain.
        if not bool(torch.isfinite(outcome.image.sum())) and not bool(torch.isfinite(outcome.image).all()):
            raise InputError(
                f"the method {self.method.name} gave values that are not finite; choose another one by method=..."
            )
        return outcome

    def state(self) -> dict[str, Any]:
        """Return tensors and plain values from which :meth:`restore` makes the same scene in another process."""
        return {
            "match": self.source.match.state(),
            "bands": [self.bands.tolist(), self.msi_bands.tolist()],
            "gaps": None if self.gaps is None else self.gaps.state(),
            "model": None if self.model is None else self.model.state(),
            "notes": list(self.notes),
            "window_seconds": self.window_seconds,
        }

    @classmethod
    def restore(
        cls,
        source: PairSource,
        method: Method[Any],
        settings: MethodSettings,
        device: torch.device,
        state: Mapping[str, Any],
    ) -> Scene:
        """Return the scene of which :meth:`state` was taken; its tensors are on ``device``."""
        bands, msi_bands = (np.array(one, np.bool_) for one in state["bands"])
        return cls(
            source=source.matched(Match.restore(state["match"])),
            bands=bands,
            msi_bands=msi_bands,
            method=method,
            settings=settings,
            device=device,
            gaps=None if state["gaps"] is None else GapRegression.restore(state["gaps"]),
            model=None if state["model"] is None else method.restore(state["model"]),
            notes=tuple(state["notes"]),
            window_seconds=state["window_seconds"],
        )


def at_hr_pixels(valid: NDArray[np.bool_], shape: tuple[int, ...], sensor: Sensor) -> NDArray[np.bool_]:
    """Give every HR pixel the validity of the LR pixel that its centre lies in.

    Args:
        valid: bool (..., h, w).
        shape: (H, W).
        sensor: relates the two.

    Returns:
        bool (..., H, W). Where LR pixels are displaced, HR pixels far from all of them are not valid.
    """
    if sensor.detectors and valid.ndim == 3:
        found = np.empty((len(valid), *shape), np.bool_)
        for bands, own in sensor.by_detector():
            found[bands] = at_hr_pixels(valid[bands], shape, own)
        return found
    if sensor.displacement is not None:
        positions, size = sensor.inverse_positions((shape[0], shape[1])), np.reshape(valid.shape[-2:], (2, 1, 1))
        rows, cols = np.clip(np.floor(positions + 0.5).astype(np.intp), 0, size - 1)
        near = ((positions > -MSI_REACH) & (positions < size - 1 + MSI_REACH)).all(axis=0)
        return np.asarray(valid[..., rows, cols] & near)
    index = []
    for axis in (0, 1):
        nearest = np.floor((np.arange(shape[axis]) - sensor.offset[axis]) / sensor.ratio[axis] + 0.5).astype(np.intp)
        index.append(np.clip(nearest, 0, valid.shape[axis - 2] - 1))
    return np.asarray(valid[..., index[0][:, None], index[1][None, :]])


def on_msi(shape: tuple[int, ...], fine: tuple[int, ...], sensor: Sensor) -> NDArray[np.bool_]:
    """Return the LR pixels, bool (h, w), of an image of ``shape`` that lie on an HR image of ``fine``, but for a rest.

    At regular positions all do, by how the two are cut; displaced ones may lie beyond, where the MSI is not known.
    """
    inside = np.ones(shape, np.bool_)
    if sensor.displacement is None:
        return inside
    for axis, at in enumerate(sensor.positions((shape[0], shape[1]))):
        ratio, offset, end = sensor.ratio[axis], sensor.offset[axis], fine[axis] - 1
        # Within a pixel of the border, or no farther out than a regular one.
        last, edge = offset + ratio * (shape[axis] - 1), ratio / 2 - 0.5 - _OVERHANG
        inside &= at >= min(edge, max(offset, -0.5))
        inside &= at <= max(end - edge, min(last, end + 0.5))
    return inside


@dataclass(frozen=True, eq=False)
class FuseTile:
    """Fuses one tile and stores it, unless it is stored already; returns whether it holds data.

    Attributes:
        scene: returns the scene in the process that calls it; picklable where other processes are to do that.
        store: for the results.
        progress: of the one window of a scene that is fused whole.
        ready: windows that were read already, by tile.
        details: receives those of the last window that this process fuses.
    """

    scene: Callable[[], Scene]
    store: Store
    progress: Progress = silent
    ready: Mapping[str, ReadyWindow] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def __call__(self, tile: Tile) -> bool:
        """Fuse a tile."""
        if self.store.done(tile.name):
            return not self.store.is_empty(tile.name)
        scene = self.scene()
        window = self.ready[tile.name][0] if tile.name in self.ready else scene.read(tile)
        if window is None:
            self.store.put(tile.name, None)
            return False
        pair = self.ready[tile.name][1] if tile.name in self.ready else window.filled(scene.gaps)
        outcome = scene.fuse(pair, self.progress)
        self.details.update(outcome.details)
        self.store.put(tile.name, cut(outcome, window, tile))
        return True


def cut(outcome: Outcome, window: WindowPair, tile: Tile) -> NDArray[np.float32]:
    """Return the output of a tile, its uncertainty (where there is one) in layers after its image; NaN in gaps."""
    images = [outcome.image] if outcome.uncertainty is None else [outcome.image, outcome.uncertainty]
    valid = window.valid[:, *tile.written]
    into, out_of = [], []
    for written, area in zip(tile.written, window.part, strict=True):
        first, last = max(written.start, area.start), min(written.stop, area.stop)
        into.append(slice(first - written.start, last - written.start))
        out_of.append(slice(first - area.start, last - area.start))
    whole = all(one == slice(0, size) for one, size in zip(into, valid.shape[1:], strict=True))
    result: NDArray[np.float32] = np.empty((len(images), *valid.shape), np.float32)
    if not whole:
        result.fill(np.nan)  # outside the part that was fused there is no data
    for values, image in zip(result, images, strict=True):
        values[:, *into] = image[:, *out_of].cpu().numpy()
        gaps = ~valid[:, *into]
        if gaps.any():
            values[:, *into][gaps] = np.nan
    return result.reshape(-1, *valid.shape[1:])
