"""HSRNet: an HSI upsampled bicubically plus detail weighted by attention over bands and over pixels.

Hu, Huang, Deng, Jiang, Vivone, Chanussot: Hyperspectral Image Super-Resolution via Deep Spatiospectral Attention
Convolutional Neural Networks, IEEE TNNLS 33(12), 2022, 7251-7265. Equal to the program of liangjiandeng/HSRnet, which
is for 31 + 3 bands and the ratio 4. Ours where it says nothing: MSI bands other than the first and last are put between
the halves of the HSI; at ratios above 6 the window of 6x6 of an LR pixel is centred on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.base import Tiling
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.compared import ComparedNetwork, ComparedOptions
from hyperfuse.networks.options import NetworkOptions, Ratio
from hyperfuse.networks.registry import register_network

_WIDTH, _BLOCKS, _WINDOW, _SLOPE = 64, 6, 6, 0.2
_VARIANCE = 2.6  # times one over the fan-in, of the normal that weights are drawn from; cut, it has 2.0


class HSRNetOptions(ComparedOptions):
    """Options of ``hsrnet``.

    Attributes:
        ratio: HR pixels per LR pixel; the authors' is 4.
    """

    ratio: Ratio = 4


@register_network("hsrnet")
class HSRNet(ComparedNetwork):
    """HSRNet; nothing is clipped.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: ratio and precision.

    Example:
        >>> sum(p.numel() for p in HSRNet(31, 3).parameters())
        633438
    """

    reference = "Hu, Huang, Deng, Jiang, Vivone, Chanussot: HSRnet, IEEE TNNLS 33(12), 2022"
    year = 2022
    program = "liangjiandeng/HSRnet d37176a"
    needs = "the whole ratio of the weights"
    published = "CAVE x4, Harvard x4 (TensorFlow): liangjiandeng/HSRnet"
    options_class: ClassVar[type[NetworkOptions]] = HSRNetOptions
    options: HSRNetOptions
    without_effect = ("unused.*",)
    ignored = ("*/Adam", "*/Adam_1", "*beta1_power", "*beta2_power")
    residual_layer = "output"

    def __init__(self, hsi_bands: int, msi_bands: int, options: HSRNetOptions | None = None) -> None:
        options = options or HSRNetOptions()
        super().__init__(hsi_bands, msi_bands, options)
        joined, ratio = hsi_bands + msi_bands, options.ratio
        self.band_squeeze = nn.Conv2d(hsi_bands, 1, 1)
        self.band_expand = nn.Conv2d(1, hsi_bands, 1)
        self.pixel_attention = nn.Conv2d(1, 1, _WINDOW)
        self.unused = nn.Conv2d(1, 1, _WINDOW, stride=ratio)
        self.msi_down = nn.Conv2d(msi_bands, msi_bands, _WINDOW, stride=ratio)
        self.expand = nn.Conv2d(joined, hsi_bands * ratio**2, 3, padding=1)
        self.head = nn.Conv2d(joined, _WIDTH, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1) for _ in range(2)) for _ in range(_BLOCKS)
        )
        self.output = nn.Conv2d(_WIDTH, hsi_bands, 3, padding=1)
        self._draw_weights()

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """See :meth:`ComparedNetwork.fuse`."""
        ratio = self.options.ratio
        upsampled = resample(hsi, (msi.shape[2], msi.shape[3]))
        squeezed = F.leaky_relu(self.band_squeeze(hsi.mean((2, 3), keepdim=True)), _SLOPE)
        by_band = self.band_expand(squeezed).sigmoid()
        by_pixel = self.pixel_attention(_same(msi.mean(1, keepdim=True), 1)).sigmoid()

        low = self._interleaved(hsi, self.msi_down(_same(msi, ratio)))
        high = F.pixel_shuffle(F.leaky_relu(self.expand(low), _SLOPE), ratio)
        x = F.leaky_relu(self.head(self._interleaved(high, msi)), _SLOPE)
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            x = x + block[1](F.leaky_relu(block[0](x), _SLOPE))
        detail: torch.Tensor = by_band * self.output(by_pixel * x)
        return upsampled + detail

    def tiling(self) -> Tiling:
        """The means of bands are those of the block; 3x3 convolutions reach 18 HR pixels, and an LR pixel beyond."""
        return Tiling(multiple=self.options.ratio, overlap=18 + 3 * self.options.ratio, side=512, spans_block=True)

    def released_names(self) -> Mapping[str, str]:
        """Our names by those of the program's variables: ``net/Conv_4/weights`` is ``head.weight``."""
        layers = {
            "CA/Conv": "band_squeeze",
            "CA/Conv_1": "band_expand",
            "Conv": "pixel_attention",
            "Conv_1": "unused",
            "Conv_2": "msi_down",
            "Conv_3": "expand",
            "Conv_4": "head",
            **{f"Conv_{5 + 2 * block + part}": f"blocks.{block}.{part}" for block in range(_BLOCKS) for part in (0, 1)},
            f"Conv_{5 + 2 * _BLOCKS}": "output",
        }
        kinds = {"weights": "weight", "biases": "bias"}
        return {f"net/{theirs}/{a}": f"{ours}.{b}" for theirs, ours in layers.items() for a, b in kinds.items()}

    def from_released(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """Return kernels in torch's order where they are stored as TensorFlow does, (k, k, in, out)."""
        kernel = self.state_dict()[self.released_names()[name]].shape[2:]
        return value.permute(3, 2, 0, 1) if value.dim() == 4 and value.shape[2:] != kernel else value

    def _interleaved(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """Return the first MSI band, half of the HSI, the MSI bands between, the other half, the last MSI band."""
        half = self.hsi_bands // 2
        return torch.cat([msi[:, :1], hsi[:, :half], msi[:, 1:-1], hsi[:, half:], msi[:, 1:][:, -1:]], 1)

    @torch.no_grad()
    def _draw_weights(self) -> None:
        """Draw weights as the program does: normal, cut at two standard deviations, biases 0."""
        for name, layer in self.named_modules():
            if not isinstance(layer, nn.Conv2d):
                continue
            assert layer.bias is not None
            layer.bias.zero_()
            if name == "band_expand":
                layer.weight.normal_()
            else:
                sigma = math.sqrt(_VARIANCE / layer.weight[0].numel())
                nn.init.trunc_normal_(layer.weight, std=sigma, a=-2 * sigma, b=2 * sigma)


def _same(image: torch.Tensor, stride: int) -> torch.Tensor:
    """Pad (B, C, H, W) so that windows of 6x6 give one output for every ``stride`` pixels, as TensorFlow's SAME does.

    The window has half of what it exceeds the stride by on either side, the larger half after. A window that is smaller
    than the stride is at its centre.
    """
    before = (_WINDOW - stride) // 2
    after = _WINDOW - stride - before
    return F.pad(image, (before, after, before, after))
