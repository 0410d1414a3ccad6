"""The formats: their functions exist under the names that the registry states."""

import pytest

from hyperfuse.errors import InputError
from hyperfuse.io import FORMATS, WriteOptions
from hyperfuse.io.formats.registry import format_named, resolve
from hyperfuse.io.windows.open import resolve as resolve_windows
from hyperfuse.io.windows.source import FileSource
from hyperfuse.io.windows.write import WindowTarget


@pytest.mark.parametrize("entry", FORMATS, ids=lambda entry: entry.name)
def test_names_in_the_registry_are_those_of_functions_and_classes(entry):
    assert callable(resolve(entry.reader))
    assert entry.writer is None or callable(resolve(entry.writer))
    assert entry.windows is None or issubclass(resolve_windows(entry.windows), FileSource)
    assert entry.target is None or issubclass(resolve_windows(entry.target), WindowTarget)
    assert set(entry.options) <= set(vars(WriteOptions()))


def test_extensions_name_one_format_each():
    extensions = [extension for entry in FORMATS for extension in entry.extensions]
    assert len(set(extensions)) == len(extensions)
    assert all(extension == extension.lower() and extension[0] == "." for extension in extensions)


def test_a_format_that_is_only_read_says_so():
    with pytest.raises(InputError, match=r"HDF5 is only read; write one of \.tif"):
        format_named("HDF5").write_function()
