"""Fusion methods, classical and learned, registered by name."""

from hyperfuse.methods import bicubic, cnmf, feinfn, gsa, local_regression, mtf_glp_hs, regression
from hyperfuse.methods.registry import Method, MethodSettings, Progress, get_method, list_methods

__all__ = [
    "Method",
    "MethodSettings",
    "Progress",
    "bicubic",
    "cnmf",
    "feinfn",
    "get_method",
    "gsa",
    "list_methods",
    "local_regression",
    "mtf_glp_hs",
    "regression",
]
