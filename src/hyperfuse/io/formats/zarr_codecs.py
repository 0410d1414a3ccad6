"""What a Zarr folder may hold, checked in its metadata before anything of it is decoded.

A codec named ``pickle`` runs what its bytes say; others may be installed by any package. So codecs and types of data
are taken from a list. Source: Zarr specification, version 2 and version 3; numcodecs, "Codecs".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hyperfuse.errors import InputError
from hyperfuse.text import shortened

_CODECS = {
    *("bytes", "endian", "transpose", "sharding_indexed", "vlen-utf8", "vlen-bytes", "zlib", "gzip", "bz2", "lzma"),
    *("blosc", "zstd", "lz4", "delta", "shuffle", "fixedscaleoffset", "quantize", "bitround", "packbits", "astype"),
    *("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "zfpy", "pcodec"),
}
_TEXT_CODECS = {"vlen-utf8", "vlen-bytes"}
_FILES = ("zarr.json", ".zarray", ".zgroup", ".zmetadata")
_LARGEST = 64 * 2**20


def check_codecs(path: Path) -> None:
    """Refuse a Zarr folder that names a codec or type of data which is not known to be plain data.

    Raises:
        InputError: such a codec or type, or metadata that is damaged or larger than any.
    """
    for file in _metadata(path):
        if file.stat().st_size > _LARGEST:
            raise InputError(f"its {file.name} is larger than {_LARGEST // 2**20} MB, which no metadata is")
        try:
            document = json.loads(file.read_bytes())
        except (ValueError, RecursionError) as error:
            raise InputError(f"is a damaged Zarr folder ({file.relative_to(path)} is no JSON)") from error
        for part in _mappings(document):
            _check(part)


def _metadata(path: Path) -> Iterator[Path]:
    """Give the files with the metadata of a group and of the arrays in it."""
    for folder in (path, *(entry for entry in sorted(path.iterdir()) if entry.is_dir())):
        for name in _FILES:
            if (folder / name).is_file():
                yield folder / name


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Give all mappings in a document, those in others too: consolidated metadata and codecs of shards."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            # What users state about their data is never decoded.
            waiting += [item for key, item in one.items() if key != "attributes"]
        elif isinstance(one, list):
            waiting += one


def _check(part: Mapping[str, Any]) -> None:
    names = [name for key in ("codecs", "filters", "compressor", "index_codecs") for name in _names(part.get(key))]
    for name in names:
        if name.removeprefix("numcodecs.") not in _CODECS:
            raise InputError(f"uses the codec {shortened(name, 40)!r}, which is not read: it may run code")
    kind = part.get("data_type", part.get("dtype"))
    plain = kind.get("name") if isinstance(kind, dict) else kind
    # Objects are texts of any length where a codec of texts makes them.
    if isinstance(plain, str) and ("O" in plain or plain == "object") and not _TEXT_CODECS & set(names):
        raise InputError("holds Python objects, which are not read")


def _names(codecs: Any) -> Iterator[str]:
    for codec in codecs if isinstance(codecs, list) else [codecs]:
        if codec is None:
            continue
        name = codec.get("id", codec.get("name")) if isinstance(codec, dict) else codec
        yield str(name)
