import pytest

from hyperfuse.cli.app import COMMANDS, options_of
from hyperfuse.cli.failures import with_options
from hyperfuse.cli.inputs import prefixed
from hyperfuse.errors import InputError

FUSE = options_of(["fuse"])


@pytest.mark.parametrize(
    ("message", "translated"),
    [
        ("declare gaps with nodata=nan", "declare gaps with --nodata nan"),
        ("pass `ratio=(4, 2)`, or ratio=3.2", "pass `--ratio 4,2`, or --ratio 3.2"),
        ("pass srf=... (one per band)", "pass --srf ... (one per band)"),
        ("set psf=, or align=False", "set --psf, or --no-align"),
        ("overwrite=True replaces it; memory_gb=4 is less", "--overwrite replaces it; --memory 4 is less"),
        ("settings={...} are wrong", "--set {...} are wrong"),
        ("msi_nodata=0: no", "--msi-nodata 0: no"),
        # What is not a parameter of the command stays: setting names, URLs, variables, other words.
        ("steps=2 and x.ratio=3 and --ratio=3 and a-ratio=3", "steps=2 and x.ratio=3 and --ratio=3 and a-ratio=3"),
        ("the ratio is 4", "the ratio is 4"),
        ("quiet=False", "quiet=False"),
    ],
)
def test_parameters_become_options(message, translated):
    assert with_options(InputError(message), FUSE) == translated


def test_the_option_of_a_refused_parameter_stands_in_the_message():
    assert with_options(InputError("0.5 is less than 1", "ratio"), FUSE) == "--ratio: 0.5 is less than 1"
    assert with_options(InputError("ratio=0.5 is less than 1", "ratio"), FUSE) == "--ratio 0.5 is less than 1"
    assert with_options(InputError("too little", "memory_gb"), FUSE) == "--memory: too little"
    assert with_options(InputError("too little", "side"), FUSE) == "too little"


def test_options_of_a_second_image_have_a_prefix():
    with pytest.raises(InputError) as caught, prefixed("msi_"):
        raise InputError("declare nodata=nan or set ratio=4 and my_nodata=3", "nodata")
    assert with_options(caught.value, FUSE) == "declare --msi-nodata nan or set --ratio 4 and my_nodata=3"


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_those_of_the_command(command):
    options = options_of([command])
    assert options["debug"] == "--debug"
    assert ("nodata" in options) == (command in ("align", "fuse", "simulate", "evaluate", "info", "view"))
    assert ("srf" in options) == (command in ("fuse", "simulate", "benchmark"))


def test_a_command_line_reads_its_own_option(fails, files, monkeypatch):
    import hyperfuse.scenes.execution as scenes

    def refuse(*_, **__):
        raise InputError("pass psf=box instead", parameter="psf")

    monkeypatch.setattr(scenes, "fuse_windows", refuse)
    code, message = fails("fuse", files / "hsi.tif", files / "msi.tif", files / "fused.tif")
    assert code == 2
    assert message.endswith("msi.tif: pass --psf box instead")
