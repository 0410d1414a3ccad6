"""The log of a run: one line of JSON per entry, and the same for TensorBoard."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperfuse.errors import HyperfuseError
from hyperfuse.runtime.optional import require

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"
TENSORBOARD_PURPOSE = "a log for TensorBoard (log.tensorboard=false writes none)"


class RunLog:
    """Writes entries of numbers by step; an entry is in the file when :meth:`write` returns.

    Of the log in ``folder``, entries after ``step`` (the steps already taken), written before a kill, are removed.
    """

    def __init__(self, folder: Path, step: int, *, tensorboard: bool) -> None:
        path = folder / LOG
        entries = [entry for entry in read_log(folder) if entry["step"] <= step] if path.is_file() else []
        partial = path.with_suffix(".part")
        partial.write_text("".join(json.dumps(entry) + "\n" for entry in entries), "utf-8")
        partial.replace(path)
        self._file = path.open("a", encoding="utf-8")
        self._writer: Any = None
        if tensorboard:
            require("tensorboard", TENSORBOARD_PURPOSE)
            # The import takes a second or two.
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1 if step else None)

    def write(self, step: int, patches: int, values: Mapping[str, float]) -> None:
        """Write an entry: step, patches seen so far, and numbers by name (``validation/psnr_db``).

        Raises:
            HyperfuseError: no space left, or another failure of the file system.
        """
        try:
            self._file.write(json.dumps({"step": step, "patches": patches, **values}) + "\n")
            self._file.flush()
            if self._writer is not None:
                for name, value in values.items():
                    self._writer.add_scalar(name, value, step)
        except OSError as error:
            raise HyperfuseError(f"{self._file.name}: cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Finish the files."""
        for file in (self._file, self._writer):
            # A failed write was reported by then, and is tried again on closing.
            with contextlib.suppress(OSError):
                if file is not None:
                    file.close()


def read_log(folder: str | os.PathLike[str]) -> list[dict[str, float]]:
    """Return the entries of a run's log, oldest first; lines that are cut off or damaged are skipped.

    Each has ``step`` and ``patches``; then ``loss``, ``learning_rate``, ``gradient_norm`` and
    ``patches_per_second``, or ``validation/psnr_db`` and the other scores.
    """
    entries = []
    for line in (Path(folder) / LOG).read_text("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                entries.append(entry)
    return entries
