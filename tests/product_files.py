"""Products of the ground as they are delivered: NEON, Hyperion, Wyvern, DESIS; PlanetScope, WorldView, L1C."""

import h5py
import numpy as np
import rasterio
from rasterio import Affine

import ground

HYPERION = [*range(8, 58), *range(77, 225)]


def raster(path, values, pixel, *, crs=ground.CRS, transform=None, nodata=None):
    """Write a GeoTIFF, or lossless JPEG 2000, whose upper left corner is that of the ground."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = values if values.ndim == 3 else values[None]
    lossless = {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}
    driver = {"driver": "JP2OpenJPEG", **lossless} if path.suffix == ".jp2" else {"driver": "GTiff"}
    profile = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    transform = Affine(pixel, 0, ground.WEST, 0, -pixel, ground.NORTH) if transform is None else transform
    with rasterio.open(path, "w", crs=crs, transform=transform, nodata=nodata, **driver, **profile) as file:
        file.write(values)
    return path


def seen(side, pixel, wavelengths=ground.WAVELENGTHS):
    """Return what square pixels on the ground's corner see, (bands, side, side)."""
    return ground.averaged(*ground.positions(side, side, pixel), pixel, wavelengths)


def write_neon(folder, side=24, pixel=8.0):
    path = folder / "NEON_D02_SERC_DP3_364000_5809000_reflectance.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("SERC/Reflectance")
        group.attrs["Band_Window_1_Nanometers"], group.attrs["Band_Window_2_Nanometers"] = [540.0, 560.0], [1790, 1955]
        codes = np.round(np.moveaxis(seen(side, pixel), 0, 2) * 10000).astype(np.int16)
        codes[:, :, 2] = 15000  # a band in a window of water vapour, which has to stay out of everything
        cube = group.create_dataset("Reflectance_Data", data=codes, chunks=(8, 8, 4))
        cube.attrs.update(Scale_Factor=10000.0, Data_Ignore_Value=-9999.0)
        for name, values in (("Wavelength", ground.WAVELENGTHS), ("FWHM", np.full(8, 5.8))):
            group[f"Metadata/Spectral_Data/{name}"] = values
        group["Metadata/Coordinate_System/EPSG Code"] = b"32633 "
        group["Metadata/Coordinate_System/Map_Info"] = (
            f"UTM, 1.000, 1.000, {ground.WEST}, {ground.NORTH}, {pixel}, {pixel}, 33, North, WGS-84, units=Meters, 0"
        )
    return path


def write_hyperion(folder, side=24, pixel=30.0):
    name = "EO1H0440342003184110KF"
    codes = np.round(seen(side, pixel, np.linspace(430, 900, len(HYPERION))) * 200 * 40).astype(np.int16)
    for number, band in zip(HYPERION, codes, strict=True):
        raster(folder / f"{name}_1T" / f"{name}_B{number:03d}_L1T.TIF", band, pixel)
    files = "\n".join(f'BAND{number}_FILE_NAME = "{name}_B{number:03d}_L1T.TIF"' for number in HYPERION)
    (folder / f"{name}_1T" / f"{name}_MTL_L1T.TXT").write_text(
        f'GROUP = PRODUCT_METADATA\nSENSOR_ID = "HYPERION"\n{files}\nEND_GROUP = PRODUCT_METADATA\n'
        "GROUP = RADIANCE_SCALING\nSCALING_FACTOR_VNIR = 40\nSCALING_FACTOR_SWIR = 80\n"
        "END_GROUP = RADIANCE_SCALING\nEND\n"
    )
    return folder / f"{name}_1T"


def write_wyvern(folder, side=28, pixel=5.0):
    """Write a scene on a grid of degrees, whose pixels are not square there."""
    name = "wyvern_dragonette-001_20250508T092313_a60915a4"
    (north, south), (west, east) = ground.lat_lon([ground.WEST, ground.WEST + 100], [ground.NORTH, ground.NORTH - 100])
    transform = Affine((east - west) / 100 * pixel, 0, west, 0, (south - north) / 100 * pixel, north)
    lon, lat = transform @ np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    x, y = rasterio.warp.transform("EPSG:4326", ground.CRS, lon.ravel(), lat.ravel())
    values = ground.averaged(np.reshape(x, lon.shape), np.reshape(y, lat.shape), pixel).astype(np.float32) * 100
    place = {"crs": "EPSG:4326", "transform": transform}
    path = raster(folder / name / f"{name}.tiff", values, pixel, nodata=-9999, **place)
    with rasterio.open(path, "r+") as file:
        for number, centre in enumerate(ground.WAVELENGTHS, 1):
            file.update_tags(number, Wavelength=str(centre), FWHM="18", Wavelength_Units="nm")
    raster(folder / name / f"{name}_pixel_quality_mask.tiff", np.zeros(values.shape, np.uint8), pixel, **place)
    return folder / name


def write_desis(folder, side=24, pixel=30.0):
    name = "DESIS-HSI-L2A-DT0707652640_011-20220404T193259-V0220"
    bands = "".join(
        f"<band><bandNumber>{number}</bandNumber><wavelengthCenterOfBand>{centre}</wavelengthCenterOfBand>"
        f"<wavelengthWidthOfBand>3</wavelengthWidthOfBand><gainOfBand>0.0001</gainOfBand><offsetOfBand>0</offsetOfBand></band>"
        for number, centre in enumerate(ground.WAVELENGTHS, 1)
    )
    raster(folder / f"{name}-SPECTRAL_IMAGE.tif", np.round(seen(side, pixel) * 10000).astype(np.int16), pixel)
    (folder / f"{name}-METADATA.xml").write_text(
        f"<hsi_doc><base><level>L2A</level></base><specific><bandCharacterisation>{bands}</bandCharacterisation>"
        "</specific></hsi_doc>"
    )
    return folder


def write_planetscope(folder, side=120, pixel=3.0):
    scene = "20230702_103015_55_24a1"
    centres = [444, 492, 533, 566, 612, 666, 707, 866]
    codes = np.round(seen(side, pixel, centres) * 10000).astype(np.uint16)
    raster(folder / "PSScene" / f"{scene}_3B_AnalyticMS_SR_8b_clip.tif", codes, pixel, nodata=0)
    raster(folder / "PSScene" / f"{scene}_3B_udm2_clip.tif", np.zeros((8, side, side), np.uint8), pixel)
    return folder / "PSScene"


def write_worldview(folder, side=120, pixel=2.0):
    """Write two tiles, whose values are those of a reflectance of 1 at 4000."""
    folder = folder / "014670314010_01_P003_MUL"
    name = "14JUN11180530-M2AS{}-014670314010_01_P003"
    groups = ("C", "B", "G", "Y", "R", "RE", "N", "N2")
    centres = [428, 479, 548, 608, 659, 724, 828, 900]
    codes = np.round(seen(side, pixel, centres) * 4000).astype(np.uint16)
    tiles = ""
    for number, start in enumerate((0, side // 2), 1):
        transform = Affine(pixel, 0, ground.WEST + pixel * start, 0, -pixel, ground.NORTH)
        file = name.format(f"_R1C{number}") + ".TIF"
        raster(folder / file, codes[:, :, start : start + side // 2], pixel, transform=transform)
        tiles += (
            f'BEGIN_GROUP = TILE_{number}\nfilename = "{file}";\nULColOffset = {start};\nULRowOffset = 0;\n'
            f"END_GROUP = TILE_{number}\n"
        )
    bands = "".join(
        f"BEGIN_GROUP = BAND_{group}\nabsCalFactor = 0.01;\neffectiveBandwidth = 0.05;\nEND_GROUP = BAND_{group}\n"
        for group in groups
    )
    (folder / f"{name.format('')}.TIL").write_text(f"{tiles}END;\n")
    (folder / f"{name.format('')}.IMD").write_text(
        f'productLevel = "LV2A";\nradiometricEnhancement = "Off";\n{bands}BEGIN_GROUP = IMAGE_1\nsatId = "WV02";\n'
        "firstLineTime = 2014-06-11T18:05:30.123450Z;\nmeanSunEl = 60.0;\nEND_GROUP = IMAGE_1\nEND;\n"
    )
    return folder


def write_sentinel2_l1c(folder, side=72, pixel=10.0):
    """Write a scene whose bands of 20 m are what their own pixels see."""
    folder = folder / "S2A_MSIL1C_20250821T100601_N0511_R022_T33UUU_20250821T120000.SAFE"
    inside, tile = "GRANULE/L1C_T33UUU_A042640_20250821T100602", "T33UUU_20250821T100601"
    physical = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
    coarse = ("B5", "B6", "B7", "B8A", "B11", "B12")
    centres = [443, 492, 560, 665, 704, 740, 783, 833, 865, 900, 880, 850, 820]  # the last ones within the ground's
    spectral = ""
    for number, (band, centre) in enumerate(zip(physical, centres, strict=True)):
        spectral += (
            f'<Spectral_Information bandId="{number}" physicalBand="{band}"><Wavelength><CENTRAL>{centre}</CENTRAL>'
            "</Wavelength></Spectral_Information>"
        )
        factor = 2 if band in coarse else 1
        codes = np.round(seen(side // factor, pixel * factor, [centre]) * 10000 + 1000).astype(np.uint16)
        name = band if band == "B8A" else f"B{int(band[1:]):02d}"
        raster(folder / inside / "IMG_DATA" / f"{tile}_{name}.jp2", codes, pixel * factor)
    adds = "".join(f'<RADIO_ADD_OFFSET band_id="{number}">-1000</RADIO_ADD_OFFSET>' for number in range(13))
    (folder / "MTD_MSIL1C.xml").write_text(
        "<x><PROCESSING_LEVEL>Level-1C</PROCESSING_LEVEL><PROCESSING_BASELINE>05.11</PROCESSING_BASELINE>"
        f"<SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME><QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE>{adds}{spectral}</x>"
    )
    return folder
