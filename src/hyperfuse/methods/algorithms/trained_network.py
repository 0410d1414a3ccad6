"""A trained network as a fusion method: any registered one, on a pair of any size, block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch.nn.functional import pad

from hyperfuse.errors import InputError
from hyperfuse.methods.contract.method import Capabilities, MethodSettings, Outcome, PairTensors
from hyperfuse.methods.contract.registry import get_method, register_method
from hyperfuse.methods.contract.state import StoredModel
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.pretrained import find_pretrained, from_pretrained, read_base
from hyperfuse.networks.registry import create_network
from hyperfuse.progress import Progress, silent
from hyperfuse.sensor.model import Sensor

# LR pixels by which blocks overlap on each side, where their outputs are blended.
_OVERLAP = 6
_MIN_BLOCK = 4 * _OVERLAP
_MIN_SIDE = 4  # LR pixels
# Networks are trained on values in [0, 1]; a scene whose values exceed 1 by less than this is in that unit.
_ABOVE_ONE = 1.5


class NetworkSettings(MethodSettings):
    """Settings of ``network``."""

    weights: str = Field(description="the network: a folder that training wrote (RUN/best), or a name that ships")
    peak: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="value that the network receives as 1; default: 1 for values in [0, 1], else the largest one",
    )
    block: int = Field(
        default=256, ge=16, description="side, in HR pixels, of the blocks that the network is applied to"
    )


@register_method(
    "network",
    settings=NetworkSettings,
    summary="a network that was trained on other scenes of the same bands, as it is",
    reference="the paper of the network; see `hyperfuse train`",
    cost="seconds",
    capabilities=Capabilities(weights=True, shared_model=True),
    listed=False,
)
@dataclass(frozen=True)
class TrainedNetworkModel(StoredModel):
    """A trained network with everything that it needs to be applied.

    Attributes:
        network: its registered name.
        bands: of HSI and of what it receives as its MSI.
        options: its own, plain values.
        weights: its own.
        base: the fusion whose image it improves, with ``method``, ``settings``, ``guidance`` and ``scale``, or None.
        peak: value that it receives as 1.
        block: side of blocks in HR pixels.
        details: of the model, for the record.
        margin: see :class:`~hyperfuse.methods.contract.method.Model`.
    """

    network: str
    bands: tuple[int, int]
    options: dict[str, Any]
    weights: dict[str, torch.Tensor]
    base: dict[str, Any] | None
    peak: float
    block: int
    details: Mapping[str, Any]
    margin: int = 2 * _OVERLAP

    @classmethod
    def fit(cls, samples: Sequence[PairTensors], settings: NetworkSettings, progress: Progress) -> TrainedNetworkModel:
        """Read the network; nothing is fitted but the unit of the values."""
        folder = find_pretrained(settings.weights)
        network, base = from_pretrained(folder), read_base(folder)
        largest = max(float(image.max()) for one in samples for image in (one.hsi, one.msi))
        peak = settings.peak or (1.0 if largest <= _ABOVE_ONE else largest)
        _check_bands(settings.weights, network, base, samples[0])
        return cls(
            network.name,
            (network.hsi_bands, network.msi_bands),
            network.options.model_dump(mode="json"),
            {name: value.detach() for name, value in network.state_dict().items()},
            None if base is None else dict(base),
            peak,
            settings.block,
            {"network": network.name, "peak": float(f"{peak:.6g}")},
        )

    def apply(self, pair: PairTensors, progress: Progress = silent) -> Outcome:
        """Apply the network to a window: padded to whole LR pixels, in overlapping blocks that are blended."""
        network = self._loaded(pair.hsi)
        scaled = PairTensors(pair.hsi / self.peak, pair.msi / self.peak, pair.sensor, pair.extent)
        guidance, base = scaled.msi, None
        if self.base is not None:
            method = get_method(self.base["method"])
            base = method.fuse(scaled, method.configure(**self.base.get("settings", {}))).image
            guidance = torch.cat([guidance, base]) if self.base.get("guidance") else guidance
        rows, cols = (
            _Axis.of(pair.hsi.shape[1 + axis], pair.msi.shape[1 + axis], pair.sensor, axis) for axis in (0, 1)
        )
        hsi, high = _padded(scaled.hsi, rows.lr, cols.lr), _padded(guidance, rows.hr, cols.hr)
        added = torch.zeros(len(hsi), *high.shape[1:], dtype=hsi.dtype, device=hsi.device)
        weights = torch.zeros(high.shape[1:], dtype=hsi.dtype, device=hsi.device)
        blocks = [(y, x) for y in rows.blocks(self.block) for x in cols.blocks(self.block)]
        for number, (y, x) in enumerate(blocks):
            low, fine = hsi[:, y.lr, x.lr], high[:, y.hr, x.hr]
            with torch.inference_mode():
                output = network(low[None], fine[None])[0]
                if base is not None:  # what it adds to the interpolated HSI is added to the base instead
                    output = output - resample(low[None], (fine.shape[-2], fine.shape[-1]))[0]
            weight = y.ramp.to(hsi)[:, None] * x.ramp.to(hsi)
            added[:, y.hr, x.hr] += weight * output
            weights[y.hr, x.hr] += weight
            progress((number + 1) / len(blocks), f"block {number + 1} of {len(blocks)}")
        image = (added / weights)[:, rows.inside, cols.inside]
        if base is not None and self.base is not None:
            image = base + float(self.base.get("scale", 1.0)) * image
        return Outcome(image * self.peak)

    def _loaded(self, like: torch.Tensor) -> FusionNetwork:
        network = create_network(self.network, hsi_bands=self.bands[0], msi_bands=self.bands[1], **self.options)
        network.load_state_dict(self.weights)
        return network.to(like).eval()


def _check_bands(weights: str, network: FusionNetwork, base: Mapping[str, Any] | None, sample: PairTensors) -> None:
    guided = base is not None and bool(base.get("guidance"))
    expected = (network.hsi_bands, network.msi_bands - (network.hsi_bands if guided else 0))
    if expected != (len(sample.hsi), len(sample.msi)):
        raise InputError(
            f"{weights}: is for an HSI of {expected[0]} bands and an MSI of {expected[1]}, the pair has"
            f" {len(sample.hsi)} and {len(sample.msi)} that are used; select them by bands=... and msi_bands=...",
            "weights",
        )


def _padded(image: torch.Tensor, rows: tuple[int, int], cols: tuple[int, int]) -> torch.Tensor:
    """Return an image with its border repeated before and after the rows and columns."""
    return pad(image[None], (*cols, *rows), mode="replicate")[0]


class _Block(NamedTuple):
    """A block along an axis: LR and HR pixels of the padded images, and its weights, (HR pixels,)."""

    lr: slice
    hr: slice
    ramp: torch.Tensor


class _Axis(NamedTuple):
    """How an axis is padded so that LR pixels cover the HR pixels exactly, from a common border on.

    Attributes:
        lr: LR pixels added before and after.
        hr: HR pixels added before and after.
        size: LR pixels with them.
        ratio: HR pixels per LR pixel.
        inside: HR pixels of the pair in the padded image.
    """

    lr: tuple[int, int]
    hr: tuple[int, int]
    size: int
    ratio: float
    inside: slice

    @classmethod
    def of(cls, coarse: int, fine: int, sensor: Sensor, axis: int) -> _Axis:
        """Pad ``coarse`` LR and ``fine`` HR pixels; a shift of up to half an HR pixel is that of a preset."""
        ratio = sensor.ratio[axis]
        corner = sensor.offset[axis] + 0.5 - ratio / 2
        start = int(math.copysign(math.ceil(abs(corner) - 0.5), corner))
        before = math.ceil(max(start, 0) / ratio)
        first = start - round(before * ratio)
        after = max(0, math.ceil((fine - first) / ratio - 1e-6) - before - coarse)
        short = max(0, _MIN_SIDE - before - coarse - after)
        after += short + -(before + coarse + after + short) % _common_border(ratio)
        size = before + coarse + after
        total = round(size * ratio)
        return cls((before, after), (-first, total + first - fine), size, ratio, slice(-first, -first + fine))

    def blocks(self, side: int) -> list[_Block]:
        """Return overlapping blocks of about ``side`` HR pixels, all of the same size."""
        unit = _common_border(self.ratio)
        size = min(self.size, unit * max(math.ceil(_MIN_BLOCK / unit), round(side / self.ratio / unit)))
        step = max(unit, (size - 2 * _OVERLAP) // unit * unit)
        starts = [*range(0, self.size - size, step), self.size - size]
        found = []
        for start in starts:
            low, high = round(start * self.ratio), round((start + size) * self.ratio)
            at = torch.arange(high - low, dtype=torch.float64) + 0.5
            before = at if start > 0 else torch.full_like(at, math.inf)
            after = at.flip(0) if start + size < self.size else torch.full_like(at, math.inf)
            ramp = (torch.minimum(before, after) / (_OVERLAP * self.ratio)).clamp_max(1.0)
            found.append(_Block(slice(start, start + size), slice(low, high), ramp))
        return found


def _common_border(ratio: float) -> int:
    """Return after how many LR pixels LR and HR pixels have a common border again: 1 at a whole ratio, 2 at 2.5."""
    return Fraction(ratio).limit_denominator(10).denominator
