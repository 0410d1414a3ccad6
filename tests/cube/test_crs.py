import pytest
from rasterio.crs import CRS

from hyperfuse.cube.crs import crs_text, crs_units, is_geographic, parse_crs, same_crs
from hyperfuse.errors import InputError


@pytest.mark.parametrize("code", [32633, 4326, 3035, 3857, 2154])
@pytest.mark.parametrize("version", ["WKT1_GDAL", "WKT1_ESRI", "WKT2_2019"])
def test_a_code_is_found_in_any_dialect(code, version):
    wkt = CRS.from_epsg(code).to_wkt(version=version)
    assert crs_text(CRS.from_wkt(wkt)) == f"EPSG:{code}"
    assert same_crs(wkt, f"EPSG:{code}")


def test_a_crs_without_a_code_keeps_its_wkt():
    own = "+proj=laea +lat_0=50 +lon_0=7 +ellps=WGS84"
    text = crs_text(parse_crs(own))
    assert text.startswith("PROJCS")
    assert same_crs(text, own)
    assert not same_crs(text, "EPSG:3035")


def test_none_and_others():
    assert crs_text(None) is None
    assert crs_text(CRS()) is None
    assert same_crs(None, None)
    assert not same_crs(None, "EPSG:4326")
    assert not same_crs("EPSG:32632", "EPSG:32633")
    # One ellipsoid is not one datum.
    assert not same_crs("+proj=utm +zone=33 +ellps=GRS80", "EPSG:25833")
    with pytest.raises(InputError, match="the CRS 'UTM 33' is not understood; give a code such as EPSG:32633, or WKT"):
        parse_crs("UTM 33")


def test_units():
    assert crs_units(parse_crs("EPSG:32633")) == "m"
    assert crs_units(parse_crs("EPSG:4326")) == "degree"
    assert crs_units(parse_crs("EPSG:2263")) == "US survey foot"
    assert is_geographic("EPSG:4326")
    assert not is_geographic("EPSG:3035")


@pytest.mark.parametrize("text", ["+proj=lcc +datum=WGS84 +type=crs", "\udcff\udcfe", "EPSG:0", "9" * 5000])
def test_what_is_no_crs_is_one_line_and_nothing_else(text, capfd):
    with pytest.raises(InputError, match="is not understood"):
        parse_crs(text)
    assert capfd.readouterr() == ("", "")
