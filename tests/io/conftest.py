import numpy as np
import pytest
from hypothesis import strategies as st

from hyperfuse.cube.crs import same_crs
from hyperfuse.cube.cube import Cube

FIELDS = ("crs", "transform", "units", "scale", "offset", "band_names", "history")

_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
_coordinates = st.floats(-1e7, 1e7, allow_nan=False)
_steps = st.floats(1e-4, 1e3)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def _transforms(draw):
    c, f, dx, dy = draw(_coordinates), draw(_coordinates), draw(_steps), draw(_steps)
    kind = draw(st.sampled_from(["north-up", "rotated", "identity"]))
    if kind == "rotated":
        angle = draw(st.floats(0.1, 1.4))
        return (dx * np.cos(angle), dx * np.sin(angle), c, dx * np.sin(angle), -dx * np.cos(angle), f)
    return (dx, 0.0, c, 0.0, -dy, f) if kind == "north-up" else (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@st.composite
def _cubes(draw):
    """Cubes with any mixture of metadata; values are whole multiples of 1/64, so exact in float32."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)))
    bands = shape[0]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    data = (rng.integers(64, 64_000, shape) / 64).astype(draw(st.sampled_from([np.float32, np.float64])))
    valid = rng.random(shape) < draw(st.sampled_from([1.0, 0.7, 0.0]))

    def per_band(values):
        return st.none() | st.lists(values, min_size=bands, max_size=bands)

    wavelengths = draw(per_band(st.floats(200, 15_000) | st.just(np.nan)))
    if wavelengths is not None and np.isnan(wavelengths).all():
        wavelengths = None
    return Cube(
        data=data,
        valid=valid,
        wavelengths=wavelengths,
        fwhm=draw(per_band(st.floats(0.1, 300))),
        good_bands=draw(per_band(st.booleans())),
        band_names=draw(per_band(_text)),
        transform=draw(st.none() | _transforms()),
        crs=draw(st.sampled_from([None, "EPSG:32633", "EPSG:4326", "EPSG:3035", "+proj=laea +lat_0=50 +lon_0=7"])),
        nodata=draw(st.sampled_from([None, np.nan, -9999.0, 0.0])),
        units=draw(st.sampled_from([None, "reflectance", "µW cm-2 sr-1 nm-1"])),
        scale=draw(st.sampled_from([1.0, 1e-4])),
        offset=draw(st.sampled_from([0.0, -0.1])),
        attributes=draw(st.dictionaries(_text, _text, max_size=3)),
        history=draw(st.lists(st.dictionaries(_text, _json, max_size=3), max_size=2)),
    )


@pytest.fixture(scope="session")
def cubes():
    return _cubes()


def _equal(first, second):
    if first is None or second is None:
        return first is second
    first, second = np.asarray(first), np.asarray(second)
    return first.shape == second.shape and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


def _assert_same(found, expected, *, leave_out=()):
    for name in ("data", "valid", "wavelengths", "fwhm", "good_bands"):
        if name not in leave_out:
            assert _equal(getattr(found, name), getattr(expected, name)), name
    for name in FIELDS:
        if name == "crs":
            assert same_crs(found.crs, expected.crs), (found.crs, expected.crs)
        elif name not in leave_out:
            assert getattr(found, name) == getattr(expected, name), name
    if "attributes" not in leave_out:
        assert dict(found.attributes) == dict(expected.attributes)
    if "nodata" not in leave_out:
        # Gaps without a mark of their own are NaN in a file, which then says so.
        mark = np.nan if expected.nodata is None and expected.valid is not None else expected.nodata
        assert _equal(found.nodata, mark), (found.nodata, expected.nodata)


@pytest.fixture(scope="session")
def assert_same():
    return _assert_same


@pytest.fixture
def scene():
    """A cube with everything: gaps, an empty bad band, wavelengths that are not monotone, georeferenced."""
    rng = np.random.default_rng(7)
    data = rng.integers(1, 10_000, (5, 8, 9)) * 1e-4
    valid = np.ones(data.shape, bool)
    valid[3] = False
    valid[:, 0, :4] = False
    return Cube(
        data=data.astype(np.float32),
        valid=valid,
        wavelengths=[418.24, 2445.5, 902.25, 1331.22, 550.125],
        fwhm=[6.99561, 8.0, 7.5, 11.3796, 6.0],
        good_bands=[True, True, True, False, True],
        band_names=["blue", "swir", "nir", "water", "green"],
        transform=(30.0, 0.0, 364095.0, 0.0, -30.0, 5809965.0),
        crs="EPSG:32633",
        nodata=-32768.0,
        units="reflectance",
        scale=1e-4,
        attributes={"start_time": "2022-07-24T10:45:26", "sensor": "EnMAP"},
        history=[{"step": "simulate", "ratio": 3, "version": "0.1.0"}],
    )
