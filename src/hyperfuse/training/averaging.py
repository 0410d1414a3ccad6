"""Exponential moving average of weights."""

from __future__ import annotations

import copy

import torch

from hyperfuse.networks.base import FusionNetwork


class WeightAverage:
    """A copy of a network whose weights follow those that are trained: ``a <- d a + (1 - d) w`` after every step.

    ``network`` is the averaged one, in evaluation mode and without gradients; ``d`` is ``decay``, with ``warm_up`` the
    smaller of ``decay`` and (1 + n) / (10 + n) in step n, counted from 0.
    """

    def __init__(self, network: FusionNetwork, decay: float, *, warm_up: bool = False) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay, self._warm_up = decay, warm_up

    @torch.no_grad()
    def update(self, network: FusionNetwork, step: int) -> None:
        """Take in the weights after step number ``step`` (from 0); buffers are copied."""
        decay = min(self._decay, (1 + step) / (10 + step)) if self._warm_up else self._decay
        averaged, followed = ([p.detach() for p in one.parameters()] for one in (self.network, network))
        torch._foreach_lerp_(averaged, followed, 1 - decay)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
