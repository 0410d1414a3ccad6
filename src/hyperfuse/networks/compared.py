"""The base of the networks that FeINFN is compared with: their authors' programs, number for number.

A network is one file: its options, its layers under the authors' names, and :meth:`ComparedNetwork.fuse` for images
whose sides fit. What they share is here: checks, padding to sides that fit, precision, and the authors' weights.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

import torch
from torch.nn import functional as F

from hyperfuse.errors import InputError
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.kernels.precision import Precision, autocast_to, compute_dtype, transform_dtype
from hyperfuse.networks.options import NetworkOptions, Ratio

# What a parallel or a wrapped module puts before every name.
_PREFIXES = ("module.", "model.")


class ComparedOptions(NetworkOptions):
    """Options of every compared network.

    Attributes:
        ratio: HR pixels per LR pixel, the same on both axes; None where the weights do not depend on it: any whole one.
        precision: type of the expensive products outside ``torch.autocast``; weights stay float32.
    """

    ratio: Ratio | None = None
    precision: Precision = "float32"

    @property
    def is_large(self) -> bool:
        """See :attr:`NetworkOptions.is_large`."""
        return False


class ScaledOptions(ComparedOptions):
    """Options of the networks whose programs work on values from 0 to 255.

    Attributes:
        full_scale: value that stands for 1 in the network's input and output: 255 as in the program, or 1.
    """

    full_scale: Literal[255, 1] = 255


class ComparedNetwork(FusionNetwork):
    """Base of the compared networks.

    A subclass sets the class attributes, builds its layers under the authors' names and writes :meth:`fuse`.

    Attributes:
        ignored: patterns of names that a file of the authors may have and this network has not.
        residual_layer: name of the layer that makes all that is added to the upsampled HSI, or None.
        options: those it was built with.
    """

    needs = "a whole ratio"
    options_class: ClassVar[type[NetworkOptions]] = ComparedOptions
    ignored: ClassVar[tuple[str, ...]] = ()
    residual_layer: str | None = None
    options: ComparedOptions

    def __init__(self, hsi_bands: int, msi_bands: int, options: ComparedOptions) -> None:
        super().__init__(hsi_bands, msi_bands, options)
        self.precision = options.precision

    @abstractmethod
    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """Map (B, hsi_bands, h, w) and (B, msi_bands, r h, r w) to (B, hsi_bands, r h, r w): the authors' equations.

        Sides are multiples of ``side_multiple``; expensive products are under autocast where that is asked for.
        """

    def forward(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """Fuse a batch of pairs.

        Sides that the layers cannot divide are extended at the bottom and right by repeating the border, and cut off
        again; the authors' programs refuse such images.

        Args:
            hsi: (B, hsi_bands, h, w), values up to ``full_scale``.
            msi: (B, msi_bands, H, W), H = r h and W = r w with one whole ratio r.

        Returns:
            (B, hsi_bands, H, W), float32 (float64 for float64 input).

        Raises:
            InputError: where the pair does not fit this network, or its ratio is not one of those that it admits.
        """
        if not torch.compiler.is_compiling():
            self.check_pair(hsi, msi)
        height, width = msi.shape[2:]
        more = [self._missing_lr_pixels(low, high) for low, high in zip(hsi.shape[2:], msi.shape[2:], strict=True)]
        if any(more):
            ratio = height // hsi.shape[2]
            hsi = F.pad(hsi, (0, more[1], 0, more[0]), mode="replicate")
            msi = F.pad(msi, (0, more[1] * ratio, 0, more[0] * ratio), mode="replicate")
        with autocast_to(compute_dtype(hsi, self.precision), hsi):
            fused = self.fuse(hsi, msi)
        return fused[:, :, :height, :width].to(transform_dtype(hsi))

    def check_divided(self, msi: torch.Tensor) -> None:
        """Refuse an MSI with a side that would be extended.

        Raises:
            InputError: such a side.
        """
        if msi.shape[2] % self.side_multiple or msi.shape[3] % self.side_multiple:
            raise InputError(
                f"intermediate outputs of {self.name} are for sides that are multiples of {self.side_multiple}, not "
                f"{msi.shape[2]}x{msi.shape[3]}; take such patches, or network.intermediate=false"
            )

    def check_pair(self, hsi: torch.Tensor, msi: torch.Tensor) -> None:
        """As :meth:`FusionNetwork.check_pair`; also refuses ratios that this network does not admit."""
        super().check_pair(hsi, msi)
        low, high = tuple(hsi.shape[2:]), tuple(msi.shape[2:])
        ratio = high[0] // low[0]
        if high != (ratio * low[0], ratio * low[1]):
            raise InputError(
                f"{self.name} needs one whole ratio on both axes, but the images go from {low[0]}x{low[1]} to "
                f"{high[0]}x{high[1]}; crop them to whole LR pixels, or use the network 'feinfn'"
            )
        if self.options.ratio not in (None, ratio):
            raise InputError(
                f"this {self.name} was built for the ratio {self.options.ratio}, but the images go from "
                f"{low[0]}x{low[1]} to {high[0]}x{high[1]}; build it with ratio={ratio}"
            )

    @torch.no_grad()
    def zero_output_layer(self) -> None:
        """Set the layer to 0 that makes what is added to the upsampled HSI.

        Raises:
            InputError: the network does not add to the upsampled HSI.
        """
        if self.residual_layer is None:
            raise InputError(
                f"{self.name} has no layer that makes all it adds to the upsampled HSI: it cannot start from that image"
            )
        for parameter in self.get_submodule(self.residual_layer).parameters():
            parameter.zero_()

    def released_names(self) -> Mapping[str, str]:
        """Return our name by the authors' for everything in the state dict; the base: the same."""
        return {name: name for name in self.state_dict()}

    def from_released(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """Return the value stored under an authors' name in the shape that it has here; the base: as it is."""
        return value

    def load_released_state_dict(self, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Load weights under the authors' names, with or without ``module.`` or ``model.`` before all of them.

        Args:
            state_dict: tensors by name; what is without effect may be missing.

        Raises:
            InputError: for a name that is not the program's, one that is missing or a shape that does not fit.
        """
        ours, own = self.released_names(), self.state_dict()
        found: dict[str, torch.Tensor] = {}
        for name, value in without_prefix(state_dict).items():
            if name not in ours:
                if matches(name, self.ignored):
                    continue
                raise InputError(f"weights: {name!r} is not part of {self._built()}")
            value = self.from_released(name, value)
            expected = own[ours[name]]
            if value.shape != expected.shape:
                raise InputError(
                    f"weights: {name!r} is {tuple(value.shape)}, {self._built()} has {tuple(expected.shape)}"
                )
            found[ours[name]] = value
        missing = [
            name
            for name, our_name in sorted(ours.items())
            if our_name not in found and not matches(our_name, self.without_effect)
        ]
        if missing:
            raise InputError(f"weights: {len(missing)} of {self._built()} are missing, the first is {missing[0]!r}")
        self.load_state_dict({**own, **found})

    def _built(self) -> str:
        ratio = "" if self.options.ratio is None else f" at the ratio {self.options.ratio}"
        return f"{self.name} for {self.hsi_bands} + {self.msi_bands} bands{ratio}"

    @property
    def side_multiple(self) -> int:
        """HR pixels that sides are multiples of, the others being extended to such; the base: that of blocks."""
        return self.tiling().multiple

    def _missing_lr_pixels(self, low: int, high: int) -> int:
        multiple = self.side_multiple
        if multiple == 1 or high % multiple == 0:
            return 0
        ratio = high // low
        return next(more for more in range(1, multiple + 1) if (low + more) * ratio % multiple == 0)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name fits one of some patterns of the shell (``*``, ``?``)."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def without_prefix(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state dict without ``module.`` or ``model.`` where all its names start with it.

    Example:
        >>> list(without_prefix({"module.model.a.weight": torch.zeros(1)}))
        ['a.weight']
    """
    found = dict(state_dict)
    for prefix in _PREFIXES * 2:
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found
