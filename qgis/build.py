"""Build the zip of the QGIS plugin: ``python qgis/build.py FOLDER``. Needs only Python itself."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
NAME = "hyperfuse_processing"
FILES = ("*.py", "metadata.txt", "*.svg")
# One time for all files, so that the same sources make the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)


def build(folder: Path) -> Path:
    """Write ``hyperfuse_processing-VERSION.zip`` to a folder, with the version of the package, and return its path."""
    version = re.search(r'__version__ = "(.+)"', (HERE.parent / "src/hyperfuse/version.py").read_text("utf-8"))[1]
    files = {path.name: path.read_bytes() for pattern in FILES for path in sorted((HERE / NAME).glob(pattern))}
    files["LICENSE"] = (HERE.parent / "LICENSE").read_bytes()
    files["metadata.txt"] = re.sub(rb"(?m)^version=.*$", f"version={version}".encode(), files["metadata.txt"])
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{NAME}-{version}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{NAME}/{name}", _TIME)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return target


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
