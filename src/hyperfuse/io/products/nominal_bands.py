"""Centres and widths of the bands of satellite sensors whose products do not state them, and whose curves are not held.

Both are those at half maximum of the curves that the operators publish; what lies between is not kept, so a response
made of them is flat-topped (:func:`hyperfuse.sensor.srf.curves.srf_from_centres`), and records say "nominal".
"""

from __future__ import annotations

# Name, centre and full width at half maximum in nm, in the order of the products.
BandTable = tuple[tuple[str, float, float], ...]

_DOVE = ("blue", "green", "red", "nir")


def _table(names: str, *ranges: tuple[float, float]) -> BandTable:
    return tuple((name, *span) for name, span in zip(names.split(), ranges, strict=True))


# By the name of the sensor. Planet's operators group PlanetScope satellites by their id: 0e, and SuperDoves from 22 on,
# whose products of four or five bands hold some of the eight; other satellites are not known here.
NOMINAL_BANDS: dict[str, BandTable] = {
    "planetscope-superdove": _table(
        "coastal_blue blue green_i green yellow red rededge nir",
        (444, 20), (492, 52), (533, 37), (566, 38), (612, 23), (666, 32), (707, 16), (866, 41),
    ),
    "planetscope-0e": _table(" ".join(_DOVE), (517, 60), (552, 100), (633, 100), (812, 100)),
    "worldview-2": _table(
        "C B G Y R RE N N2 P",
        (428, 51), (479, 60), (548, 69), (608, 38), (659, 58), (724, 39), (828, 117), (923, 92), (645, 336),
    ),
    "worldview-3": _table(
        "C B G Y R RE N N2 S1 S2 S3 S4 S5 S6 S7 S8 P",
        (427, 46), (482, 58), (547, 68), (605, 38), (660, 58), (723, 38), (827, 120), (922, 85),
        (1210, 31), (1572, 39), (1661, 38), (1730, 40), (2164, 39), (2203, 41), (2260, 48), (2330, 69), (643, 341),
    ),
    "eo-1-ali": _table(
        "1P 1 2 3 4 4P 5P 5 7 PAN",
        (442, 19), (485, 61), (567, 74), (660, 58), (790, 30), (866, 44), (1244, 89), (1640, 184), (2226, 276),
        (592, 175),
    ),
    "gaofen-1-wfv1": _table("B1 B2 B3 B4", (483, 62), (554, 70), (657, 72), (824, 118)),
    "gaofen-6-pms": _table("B1 B2 B3 B4 PAN", (491, 64), (565, 79), (659, 60), (820, 136), (675, 444)),
    "sentinel-2c": _table(
        "B1 B2 B3 B4 B5 B6 B7 B8 B8A B9 B10 B11 B12",
        (444, 20), (489, 64), (561, 35), (667, 29), (707, 14), (741, 14), (785, 19), (835, 95), (866, 19), (947, 19),
        (1372, 32), (1612, 89), (2191, 182),
    ),
    "prisma-pan": _table("PAN", (550, 300)),
}  # fmt: skip


def nominal_ranges(sensor: str, bands: tuple[str, ...]) -> list[tuple[float, float]]:
    """Return centre and width in nm of the named bands of a sensor of ``NOMINAL_BANDS``."""
    known = {name: (centre, width) for name, centre, width in NOMINAL_BANDS[sensor]}
    return [known[band] for band in bands]
