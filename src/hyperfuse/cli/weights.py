"""``hyperfuse weights``: weights that authors published, or a training run made, as files of this package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from hyperfuse.cli.options import COMMON, CommonOptions, WholeOrNone
from hyperfuse.cli.session import Session
from hyperfuse.errors import InputError

if TYPE_CHECKING:
    from hyperfuse.networks.base import FusionNetwork


def weights(
    action: Literal["convert"],
    file: str,
    out: str,
    /,
    *,
    network: str | None = None,
    hsi_bands: WholeOrNone = None,
    msi_bands: WholeOrNone = None,
    ratio: WholeOrNone = None,
    overwrite: bool = False,
    common: CommonOptions = COMMON,
    session: Annotated[Session, Parameter(parse=False)],
) -> None:
    """Convert weights that authors published to a file of this package.

    FILE is a checkpoint of plain tensors under the authors' names (.pth, .pt, .safetensors, or .index of TensorFlow);
    nothing in it is executed. Or it is the folder of a training run: its best weights are taken, and OUT states how
    they were trained. OUT states network, bands and options: `hyperfuse fuse --network OUT` needs no more.

    Args:
        action: What to do: convert.
        file: Checkpoint to read, or the folder of a training run.
        out: File to write, ending in .safetensors.
        network: Name of the network; default: the one whose names and shapes fit.
        hsi_bands: Bands of the HSI; default: as the shapes state.
        msi_bands: Bands of the MSI; default: as the shapes state.
        ratio: MSI pixels per HSI pixel; default: as the shapes state.
        overwrite: Replace an existing OUT.
        common: Options of every command.
        session: Where results and notes go.
    """
    from hyperfuse.networks.released import from_released, save_converted

    target = Path(out)
    if target.suffix != ".safetensors":
        raise InputError(f"{out}: name a file that ends in .safetensors")
    if target.exists():
        if target.resolve() == Path(file).resolve():
            raise InputError(f"{out}: is the file to convert; name another")
        if not overwrite:
            raise InputError(f"{out}: exists already; pass overwrite=True")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent}: no such folder")
    training = None
    if Path(file).is_dir():
        if (network, hsi_bands, msi_bands, ratio) != (None, None, None, None):
            raise InputError("a training run states its network, bands and ratio; leave out these options")
        built, training = _of_run(Path(file))
    else:
        built = from_released(file, network, hsi_bands=hsi_bands, msi_bands=msi_bands, ratio=ratio)
    save_converted(built, target, training)
    session.wrote(target)
    stated = built.options.model_dump(mode="json", include={"ratio", "variant"}, exclude_none=True)
    options = "".join(f", {name}={value}" for name, value in stated.items())
    count = sum(parameter.numel() for parameter in built.parameters())
    session.note(f"{out}: {built.name} for {built.hsi_bands} + {built.msi_bands} bands{options}, {count:,} parameters")


def _of_run(run: Path) -> tuple[FusionNetwork, dict[str, Any]]:
    """Return the best network of a training run, and how it was trained."""
    from hyperfuse.networks.pretrained import from_pretrained, read_base
    from hyperfuse.training.run_folder import describe_run

    best = run / "best"
    if not best.is_dir():
        raise InputError(f"{run}: no training run, which has the folder best")
    if read_base(best) is not None:
        raise InputError(f"{best}: was trained on top of another fusion, which one file does not hold; use the folder")
    return from_pretrained(best), describe_run(run)
