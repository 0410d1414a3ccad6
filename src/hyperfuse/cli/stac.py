"""The STAC item that `hyperfuse fuse` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperfuse.cli.inputs import file_of, naming
from hyperfuse.cli.options import OutputOptions
from hyperfuse.cli.session import Session
from hyperfuse.errors import InputError
from hyperfuse.runtime.optional import check_installed

if TYPE_CHECKING:
    from hyperfuse.scenes.pipeline import Fusion


def check_item(path: str, written: Sequence[Path | str | None], inputs: Sequence[str], overwrite: bool) -> None:
    """Refuse an item that cannot be written, before files are read."""
    from hyperfuse.io.encoding.atomic import check_target
    from hyperfuse.io.inputs import refuse_inputs

    check_installed("pystac", "writing a STAC item")
    target = Path(path)
    if target.suffix.lower() != ".json":
        raise InputError(f"{path}: a STAC item is JSON; name a file that ends in .json")
    if target.absolute() in {Path(file).absolute() for file in written if file is not None}:
        raise InputError(f"{path}: is another file of this call; name another for the item")
    refuse_inputs([target], inputs)
    with naming(path):
        check_target(target, overwrite=overwrite)


def write_item(
    path: str,
    session: Session,
    fusion: Fusion[Any],
    made: Mapping[str, str | None],
    inputs: Sequence[str],
    writing: OutputOptions,
) -> None:
    """Write the item of a result.

    Args:
        path: JSON to write.
        session: of the command.
        fusion: that was done.
        made: paths of ``fused``, ``uncertainty`` and ``report``, None of those that were not written.
        inputs: images that it was made of.
        writing: how images were written.
    """
    from hyperfuse.io.stac import ItemAsset, write_stac_item

    assets = {"fused": ItemAsset(file_of(made["fused"] or ""), "fused image", ("data",), fusion.image, writing.dtype)}
    if made["uncertainty"] is not None:
        title = "expected error of every pixel and band (standard deviation)"
        assets["uncertainty"] = ItemAsset(file_of(made["uncertainty"]), title, ("uncertainty",), fusion.uncertainty)
    if made["report"] is not None:
        assets["report"] = ItemAsset(Path(made["report"]), "report", ("metadata",))
    write_stac_item(path, assets, [file_of(name) for name in inputs], overwrite=writing.overwrite)
    session.wrote(path)
    session.note(f"wrote {path}")
