"""Processes of other machines: whether they run the same code and see the same files."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from functools import cache
from pathlib import Path


@cache
def code_digest() -> str:
    """Return a digest of all modules of the package.

    Example:
        >>> len(code_digest())
        16
    """
    home = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        digest.update(f"{path.relative_to(home).as_posix()}\n".encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


def missing_access(mark: str, token: str, inputs: Sequence[str]) -> str | None:
    """Return what this process cannot do with the files of a job, or None."""
    path = Path(mark)
    try:
        if path.read_text() != token:
            return f"see what this process writes to {path.parent}"
    except OSError as error:
        return f"read {path.parent} ({error.strerror})"
    own = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        own.write_text(token)
        own.unlink()
    except OSError as error:
        return f"write to {path.parent} ({error.strerror})"
    return next((f"read {one}" for one in inputs if not os.access(one, os.R_OK)), None)
