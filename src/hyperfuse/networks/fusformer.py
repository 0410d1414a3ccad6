"""Fusformer: self-attention over all pixels of a tile, on the spectra of both images.

Hu, Huang, Deng, Dou, Hong, Vivone: Fusformer: A Transformer-Based Fusion Network for Hyperspectral Image
Super-Resolution, IEEE GRSL 19, 2022, arXiv 2109.02079. Equal to the program of J-FHu/Fusformer: its positional codes
exist and are not added, its "decoder" attends to itself, and its output is clipped to [0, 1], in training too.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from hyperfuse.networks.base import Tiling
from hyperfuse.networks.blocks.upsample import resample
from hyperfuse.networks.compared import ComparedNetwork, ComparedOptions
from hyperfuse.networks.registry import register_network

_WIDTH, _HEADS, _LAYERS, _TILE = 48, 3, 2, 64


class _SelfAttention(nn.Module):
    """Multi-head self-attention over all tokens, (B, N, width)."""

    def __init__(self) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(_WIDTH, 3 * _WIDTH, bias=False)
        self.to_out = nn.Sequential(nn.Linear(_WIDTH, _WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x.shape
        query, key, value = self.to_qkv(x).view(batch, tokens, 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        result: torch.Tensor = self.to_out(attended.transpose(1, 2).reshape(batch, tokens, _WIDTH))
        return result


class _FeedForward(nn.Module):
    """Two layers per token; the program's dropout of 0 stands between."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.Linear(_WIDTH, _WIDTH), nn.LeakyReLU(), nn.Identity(), nn.Linear(_WIDTH, _WIDTH))
        self.net = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.net(x)
        return result


class _Residual(nn.Module):
    """``x + part(LN x)``, under the names of the program: ``fn.norm`` and ``fn.fn``."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.fn = nn.Sequential(OrderedDict(norm=nn.LayerNorm(_WIDTH), fn=part))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = self.fn(x)
        return x + added


class _Transformer(nn.Module):
    """Layers of this many attentions and a feed-forward part each."""

    def __init__(self, attentions: int) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, _TILE**2, _WIDTH))
        self.layers = nn.Sequential(
            *(
                nn.Sequential(*(_Residual(_SelfAttention()) for _ in range(attentions)), _Residual(_FeedForward()))
                for _ in range(_LAYERS)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        return result


@register_network("fusformer")
class Fusformer(ComparedNetwork):
    """Fusformer; its output is clipped to [0, 1]. Attention spans the image: the authors apply it to tiles of 64x64.

    Args:
        hsi_bands: bands of the LR-HSI and of the output.
        msi_bands: bands of the HR-MSI.
        options: ratio (any whole one) and precision.

    Example:
        >>> sum(p.numel() for p in Fusformer(31, 3).parameters())
        504463
    """

    reference = "Hu, Huang, Deng, Dou, Hong, Vivone: Fusformer, IEEE GRSL 19, 2022"
    year = 2022
    program = "J-FHu/Fusformer b075443"
    published = "CAVE x4: J-FHu/Fusformer"
    without_effect = ("T_E.pos_embedding", "T_D.pos_embedding")
    residual_layer = "refine.2"

    def __init__(self, hsi_bands: int, msi_bands: int, options: ComparedOptions | None = None) -> None:
        super().__init__(hsi_bands, msi_bands, options or ComparedOptions())
        self.T_E = _Transformer(1)
        self.T_D = _Transformer(2)
        self.Embedding = nn.Sequential(nn.Linear(hsi_bands + msi_bands, _WIDTH))
        self.refine = nn.Sequential(
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(_WIDTH, hsi_bands, 3, padding=1)
        )

    def fuse(self, hsi: torch.Tensor, msi: torch.Tensor) -> torch.Tensor:
        """See :meth:`ComparedNetwork.fuse`."""
        size = (msi.shape[2], msi.shape[3])
        upsampled = resample(hsi, size).clamp(0, 1)
        tokens = self.Embedding(torch.cat([upsampled, msi], 1).flatten(2).transpose(1, 2))
        image = self.T_D(self.T_E(tokens)).transpose(1, 2).unflatten(2, size)
        fused: torch.Tensor = (upsampled + self.refine(image)).clamp(0, 1)
        return fused

    def tiling(self) -> Tiling:
        """The authors' tiles of 64x64, over which attention spans."""
        return Tiling(overlap=4, side=_TILE, spans_block=True)
