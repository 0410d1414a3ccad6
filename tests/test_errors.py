"""The exceptions: their exit codes, what else they are, and the name that was meant."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfuse.errors import HyperfuseError, InputError, MissingDependencyError, nearest_name

METHODS = ["bicubic", "cnmf", "gsa", "local-regression", "mtf-glp-hs", "regression"]


@pytest.mark.parametrize(
    ("error", "code", "also"),
    [
        (HyperfuseError("no space"), 1, Exception),
        (InputError("wrong"), 2, ValueError),
        (MissingDependencyError("zarr", "xarray", "reading Zarr"), 2, ImportError),
    ],
)
def test_every_error_tells_its_exit_code(error, code, also):
    assert error.exit_code == code
    assert isinstance(error, HyperfuseError)
    assert isinstance(error, also)


def test_a_missing_package_is_named_with_the_extra_that_brings_it():
    error = MissingDependencyError("zarr", "xarray", "reading Zarr")
    assert str(error) == "reading Zarr needs the package zarr: pip install 'hyperfuse[xarray]'"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("bicubik", "bicubic"), ("CNMF", "cnmf"), ("localregression", "local-regression"), ("mtf-glp", "mtf-glp-hs")],
)
def test_the_nearest_name_is_offered(name, meant):
    assert nearest_name(name, METHODS) == f"; did you mean {meant!r}?"


def test_far_from_all_of_them_they_are_listed():
    assert nearest_name("qqqqqq", reversed(METHODS)) == "; known: " + ", ".join(METHODS)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(METHODS), st.integers(0, 30), st.characters(categories=["Ll"]))
def test_one_wrong_letter_is_forgiven(name, position, letter):
    position %= len(name)
    assert nearest_name(name[:position] + letter + name[position + 1 :], METHODS).endswith(f"{name!r}?")
