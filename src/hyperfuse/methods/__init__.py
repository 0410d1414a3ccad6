"""Fusion methods, classical and learned, registered by name; importing this package registers them all."""

import hyperfuse.methods.algorithms.bicubic
import hyperfuse.methods.algorithms.cnmf
import hyperfuse.methods.algorithms.cstf
import hyperfuse.methods.algorithms.fuse_sylvester
import hyperfuse.methods.algorithms.gsa
import hyperfuse.methods.algorithms.hysure
import hyperfuse.methods.algorithms.ir_tensr
import hyperfuse.methods.algorithms.local_regression
import hyperfuse.methods.algorithms.ltmr
import hyperfuse.methods.algorithms.lttr
import hyperfuse.methods.algorithms.mtf_glp_hs
import hyperfuse.methods.algorithms.regression
import hyperfuse.methods.algorithms.trained_network
import hyperfuse.methods.feinfn.method  # noqa: F401
from hyperfuse.methods.contract.method import (
    WHOLE,
    BytesPerPixel,
    Capabilities,
    Extent,
    Method,
    MethodSettings,
    Model,
    Outcome,
    PairTensors,
)
from hyperfuse.methods.contract.registry import get_method, list_methods, register_method
from hyperfuse.methods.contract.state import StoredModel

DEFAULT_METHOD = "feinfn"

__all__ = [
    "DEFAULT_METHOD",
    "WHOLE",
    "BytesPerPixel",
    "Capabilities",
    "Extent",
    "Method",
    "MethodSettings",
    "Model",
    "Outcome",
    "PairTensors",
    "StoredModel",
    "get_method",
    "list_methods",
    "register_method",
]
