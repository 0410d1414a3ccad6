"""Requests that no page makes: each is refused or replied to, none fails."""

import random
from urllib.parse import quote

import pytest

from hyperfuse.viewer.tiles import ZOOMS

PATHS = ["tile", "limits", "spectra", "region", "scene", "progress"]
NUMBERS = ["0", "1", "-1", "2", "5", "11", "12", "1e9", "999999999", "9999999999", "1.5", "nan", "inf", "-inf", "1e999"]
NUMBERS += [
    "",
    " ",
    "0x1",
    "1_0",
    "٣",
    "１",
    "%00",
    "\x00",
    "1e-320",
    "-0",
    "+1",
    "1,",
    ",1",
    "a" * 300,
    "💥",
    "\ud800",
]
LISTS = ["0,1", "1,0", "0,0", "3,2,1", "0,1,0,1,0,1", "1e308,-1e308", "-1e308,1e308", "8.5,4.5", "1,1,30,1,30,20,1,20"]
LISTS += ["0,0,1,1", ",".join(["1"] * 2000), "1;2;3", "5,5,5,5,5,5", "0,0,1e9,0,1e9,1e9", "1e-300,2e-300", "0,5e-324"]
KINDS = ["bands", "angle", "error", "error-angle", "Bands", "", "../x"]
SCALES = ["grey", "cubehelix", "jet", ""]
FIELDS = {
    "image": NUMBERS, "zoom": [*NUMBERS, *map(str, range(-20, 10))], "col": NUMBERS, "row": NUMBERS,
    "at": [*LISTS, *NUMBERS],
    "bands": [*LISTS, *NUMBERS], "limits": [*LISTS, *NUMBERS], "pin": [*LISTS, *NUMBERS], "corners": [*LISTS, *NUMBERS],
    "kind": KINDS, "scale": SCALES, "token": NUMBERS,
}  # fmt: skip


def a_query(draw):
    """Return a query: mostly of known names, with values that nearly fit."""
    names = draw.sample(list(FIELDS), draw.randint(0, len(FIELDS)))
    pairs = [(name, draw.choice(FIELDS[name])) for name in names]
    if draw.random() < 0.6:  # nearly right, so that what computes is reached
        pairs += [("image", str(draw.randint(0, 2))), ("zoom", str(draw.choice(ZOOMS))), ("col", "0"), ("row", "0")]
        pairs += [
            ("bands", draw.choice(["0", "1,2,3"])),
            ("limits", draw.choice(LISTS)),
            ("kind", draw.choice(KINDS[:4])),
        ]
    draw.shuffle(pairs)
    text = "&".join(f"{name}={quote(value.encode('utf-8', 'surrogatepass'), safe=',')}" for name, value in pairs)
    return text if draw.random() < 0.9 else text + draw.choice(["&&&", "=", "&image", "%", "%zz", "&a=%ff%fe", "#x"])


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_request_fails(serve, cube, coarse, count):
    client = serve(coarse, cube, reference=cube.replace(data=cube.data + 1))
    client.timeout = 60
    draw = random.Random(count)
    seen = {}
    for _ in range(count):
        path = draw.choice(PATHS)
        reply = client.get(f"/api/{path}?{a_query(draw)}")
        assert reply.status_code in (200, 400, 422), (path, reply.request.url)
        seen.setdefault(path, set()).add(reply.status_code)
        if reply.status_code != 200:
            assert len(reply.json()["error"]) < 500
    assert {200, 400} <= seen["tile"]
    assert {200, 400} <= seen["limits"]
    assert {200, 400} <= seen["spectra"]
