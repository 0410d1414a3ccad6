"""The formats: their functions exist under the names that the registry states."""

import pytest

from hyperfuse.errors import InputError
from hyperfuse.io import FORMATS, WriteOptions
from hyperfuse.io.formats.registry import resolve
from hyperfuse.io.formats.targets import WindowTarget, prepare


@pytest.mark.parametrize("entry", FORMATS, ids=lambda entry: entry.name)
def test_names_in_the_registry_are_those_of_functions_and_classes(entry):
    assert callable(resolve(entry.reader))
    if entry.writer is not None:
        writer = resolve(entry.writer)
        assert callable(writer)
        assert (isinstance(writer, type) and issubclass(writer, WindowTarget)) == entry.windows
    assert set(entry.options) <= set(vars(WriteOptions()))


def test_extensions_name_one_format_each():
    extensions = [extension for entry in FORMATS for extension in entry.extensions]
    assert len(set(extensions)) == len(extensions)
    assert all(extension == extension.lower() and extension[0] == "." for extension in extensions)


def test_a_format_that_is_only_read_says_so(tmp_path):
    with pytest.raises(InputError, match=r"HDF5 is only read; write one of \.tif"):
        prepare(tmp_path / "a.h5", WriteOptions(), overwrite=False)
