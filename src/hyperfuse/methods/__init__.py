"""Fusion methods, classical and learned, registered by name; importing this package registers them all."""

from hyperfuse.methods.algorithms.bicubic import BicubicSettings
from hyperfuse.methods.algorithms.cnmf import CnmfSettings
from hyperfuse.methods.algorithms.gsa import GsaSettings
from hyperfuse.methods.algorithms.local_regression import LocalRegressionSettings
from hyperfuse.methods.algorithms.mtf_glp_hs import MtfGlpHsSettings
from hyperfuse.methods.algorithms.regression import RegressionSettings
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
from hyperfuse.methods.feinfn.method import FeinfnSettings

DEFAULT_METHOD = "feinfn"

__all__ = [
    "DEFAULT_METHOD",
    "WHOLE",
    "BicubicSettings",
    "BytesPerPixel",
    "Capabilities",
    "CnmfSettings",
    "Extent",
    "FeinfnSettings",
    "GsaSettings",
    "LocalRegressionSettings",
    "Method",
    "MethodSettings",
    "Model",
    "MtfGlpHsSettings",
    "Outcome",
    "PairTensors",
    "RegressionSettings",
    "get_method",
    "list_methods",
    "register_method",
]
