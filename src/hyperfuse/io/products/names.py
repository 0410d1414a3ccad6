"""File names of the products, as their specifications state them; whitespace in a pattern is ignored.

Every pattern is matched against a whole base name, whatever its case (:func:`hyperfuse.io.products.members.match`).
"""

from __future__ import annotations

# EnMAP: "Product Specification", EN-PCV-ICD-2009-2, https://www.enmap.org/data/doc/
# DESIS: "DESIS Product Specification", PAV-DLR-ICD-003. No scene where a user has renamed the files to the bare parts.
DLR_METADATA = r"METADATA \.XML"
DLR_IMAGE = r"SPECTRAL_IMAGE (?:_VNIR | _SWIR)? (?:_COG)? \.TIFF?"
DLR_FILE = rf"(?:(?P<scene> .*) -)? (?: {DLR_METADATA} | (?P<image> {DLR_IMAGE}))"
ENMAP_FILE = rf"ENMAP .* - (?: {DLR_METADATA} | {DLR_IMAGE})"
ENMAP_FOLDER = r"ENMAP \d\d - .*"
DESIS_FILE = rf"DESIS - .* - (?: {DLR_METADATA} | {DLR_IMAGE})"
DESIS_FOLDER = r"DESIS-HSI- .*"

# PRISMA: "PRISMA Products Specification Document", https://prisma.asi.it/missionselect/docs.php
PRISMA_FILE = r"PRS_ (?P<level> L[12][BCD]?) _ (?:.* _)? (?P<time> \d{14} _ \d{14}) .* \.he5 | PRS_L\w+ \.he5"

# EMIT: https://lpdaac.usgs.gov/products/emitl2arflv001/ ; the scene is time, orbit and number within the orbit.
EMIT_RADIANCE = r"EMIT_L1B_RAD_ .* \.nc"
EMIT_REFLECTANCE = r"EMIT_L2A_RFL_ (?:(?P<version> \d+) _ (?P<scene> .+) | .*) \.nc"
EMIT_FILE = rf"{EMIT_RADIANCE} | EMIT_L2A_RFL_ .* \.nc"

# Tanager-1: https://docs.planet.com/data/imagery/tanager/
TANAGER_FILE = r"\d{8}_\d{6}_ .* _ (?: basic | ortho) _ (?: radiance | sr) (?: _hdf5)? \.h5"

# AVIRIS: Classic, -NG, -3 and -5, https://aviris.jpl.nasa.gov ; not the uncertainty, positions or lookup tables.
_AVIRIS = r"(?P<granule> f\d{6}t\d\dp\d\dr\d\d | ang\d{8}t\d{6} | av[35]\d{8}t\d{6} (?: _\d{3})?)"
_AVIRIS_OTHER = r"(?! .* _(?: unc | glt | igm | loc | obs | h2o) (?: _ | \. | $))"
AVIRIS_ENVI = (
    rf"{_AVIRIS_OTHER} {_AVIRIS} \w* (?P<kind> rfl | refl | corr | rdn) \w* (?: \. (?: img | bin | dat | hdr))?"
)
AVIRIS_NETCDF = rf"{_AVIRIS_OTHER} {_AVIRIS} \w* (?P<kind> rfl | rdn) \w* \.nc"

# Sentinel-2: https://sentiwiki.copernicus.eu/web/s2-products
SENTINEL2_FILE = r"MTD_MSI (?P<level> L1C | L2A) \.xml"
SENTINEL2_FOLDER = r"S2[A-Z]_ .* \.SAFE"
# The land bands and their pixel size in m; those of 60 m serve the atmospheric correction.
SENTINEL2_BANDS = {
    "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10, "B8A": 20, "B11": 20, "B12": 20,
}  # fmt: skip

# Landsat: https://www.usgs.gov/landsat-missions/landsat-collection-2 ; LC: OLI and TIRS, LO: OLI alone.
LANDSAT_METADATA = r"(?:(?P<scene> .*) _)? MTL \. (?P<kind> txt | json | xml)"
LANDSAT_FOLDER = r"L[CO] 0[89] _ (?P<level> L\d) .*"

# NEON: https://data.neonscience.org/data-products/DP3.30006.001 ; DP1 are flight lines, DP3 tiles.
NEON_FILE = r"NEON_D\d\d _ [A-Z]{4} _ DP[13] _ .* _ (?: reflectance | radiance) \.h5"

# PlanetScope: https://docs.planet.com/data/imagery/planetscope/ ; 3B is orthorectified, 1B is not.
PLANETSCOPE_FILE = r"""
    (?P<scene> \d{8} _ \d{6} _ (?: \d{1,3} _)? (?P<satellite> [0-9a-f]{3,6})) _ (?P<level> 1B | 3B) _ AnalyticMS
    (?P<sr> _SR)? (?: _\db)? (?: _harmonized)? (?: _clip)? \.tiff?
"""

# WorldView: date, time, a code of product such as M2AS, and the number of the order; R1C1 of a tile.
_WORLDVIEW = r"(?P<start> \d\d [A-Z]{3} \d{2,12} - [A-Z]\d[A-Z]{2}) (?: _R\d+C\d+)? (?P<order> - \d+ _ \d+ _ P\d+)"
WORLDVIEW_FILE = rf"{_WORLDVIEW} \. (?: IMD | TIL | XML)"
WORLDVIEW_IMAGE = rf"{_WORLDVIEW} \. TIFF?"

# Wyvern: https://guide.wyvern.space/data-product-guide ; before 2.0 without a level, which was L1B.
WYVERN_FILE = r"""
    wyvern _ (?P<platform> dragonette-\d{3}) _ (?P<time> \d{8}T\d{6}) _ [0-9a-f]{8} (?: _ (?P<level> l1b | l2a))?
    \.tiff?
"""

# Hyperion: https://www.usgs.gov/centers/eros/science/earth-observing-1-eo-1 ; L1R is HDF4 in sensor geometry.
HYPERION_FILE = r"EO1H .* _MTL .* \.TXT | EO1H .* \.L1R"
HYPERION_FOLDER = r"EO1H .*"

# Gaofen and Ziyuan: names as in public readers; VN and SW are the two detectors of AHSI.
GAOFEN_IMAGE = r"""
    (?: GF5 [AB]? _AHSI_ .* | ZY1 [EF] _AHSI_ .* _ (?: VN | SW)
    | GF1 [BCD]? _ (?: WFV | PMS) \d _ .* | GF6_ (?: WFV | PMS) _ .*)
    \. (?: geotiff | tiff?)
"""
NOTHING = r"(?!)"

# HYPSO: https://github.com/NTNU-SmallSat-Lab/hypso-package ; PACE: https://oceandata.sci.gsfc.nasa.gov
HYPSO_FILE = r"hypso [12]? _ .* \.nc"
PACE_FILE = r"PACE_OCI \. .* \.nc"
