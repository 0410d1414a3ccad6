import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.runtime import devices
from hyperfuse.runtime.devices import bfloat16_is_fast, find_device


@pytest.fixture(autouse=True)
def no_memory_of_earlier_calls():
    bfloat16_is_fast.cache_clear()
    yield
    bfloat16_is_fast.cache_clear()


def test_devices_by_name():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta:x", ""])
def test_a_device_that_cannot_be_used_is_refused(name):
    with pytest.raises(InputError, match="cannot be used here; choose auto, cpu or cuda") as caught:
        find_device(name)
    assert caught.value.parameter == "device"


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
def test_a_processor_multiplies_bfloat16_with_avx512_or_amx(monkeypatch, avx512, amx):
    monkeypatch.setattr(devices.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert bfloat16_is_fast("cpu") is (avx512 or amx)


def test_the_checks_are_where_they_are_expected():
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        assert isinstance(getattr(torch.cpu, name)(), bool)
