"""Networks that fuse an LR-HSI with an HR-MSI.

Example:
    >>> import torch
    >>> from hyperfuse.networks import create_network
    >>> network = create_network("feinfn", hsi_bands=31, msi_bands=3, width=16)
    >>> network(torch.rand(1, 31, 5, 6), torch.rand(1, 3, 16, 18)).shape
    torch.Size([1, 31, 16, 18])
"""

import hyperfuse.networks.bdt
import hyperfuse.networks.dhif
import hyperfuse.networks.dspnet
import hyperfuse.networks.fusformer
import hyperfuse.networks.hsrnet
import hyperfuse.networks.mimo_sst
import hyperfuse.networks.mog_dcn
import hyperfuse.networks.psrt
import hyperfuse.networks.restfnet
import hyperfuse.networks.ssrnet
import hyperfuse.networks.three_dt_net  # noqa: F401
from hyperfuse.networks.base import FusionNetwork
from hyperfuse.networks.compared import ComparedNetwork
from hyperfuse.networks.feinfn import FeINFN
from hyperfuse.networks.feinfn_release import FeINFNRelease
from hyperfuse.networks.options import FeINFNOptions, FeINFNSize, NetworkOptions
from hyperfuse.networks.registry import create_network, list_networks, network_class, network_options

__all__ = [
    "ComparedNetwork",
    "FeINFN",
    "FeINFNOptions",
    "FeINFNRelease",
    "FeINFNSize",
    "FusionNetwork",
    "NetworkOptions",
    "create_network",
    "list_networks",
    "network_class",
    "network_options",
]
