"""Blocks that several networks share."""

from hyperfuse.networks.blocks.decoder import SFID
from hyperfuse.networks.blocks.encoder import EDSREncoder
from hyperfuse.networks.blocks.fourier import FourierFusion
from hyperfuse.networks.blocks.gabor import RealGabor, activation_layer
from hyperfuse.networks.blocks.implicit import ImplicitFunction
from hyperfuse.networks.kernels.neighbours import AxisNeighbours, axis_neighbours

__all__ = [
    "SFID",
    "AxisNeighbours",
    "EDSREncoder",
    "FourierFusion",
    "ImplicitFunction",
    "RealGabor",
    "activation_layer",
    "axis_neighbours",
]
