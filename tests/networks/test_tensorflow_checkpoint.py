"""Checkpoints of TensorFlow, written here as its format states, read without it."""

import contextlib
import struct

import numpy as np
import pytest
import torch

from hyperfuse.errors import InputError
from hyperfuse.networks import create_network
from hyperfuse.networks.pretrained import read_weights
from hyperfuse.networks.released import from_released

MAGIC = bytes.fromhex("57fb808b247547db")


def varint(value):
    groups = [value & 127]
    while value := value >> 7:
        groups.append(value & 127)
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(pairs, restart=16):
    data, restarts, before = b"", [], b""
    for count, (key, value) in enumerate(pairs):
        shared = 0
        if count % restart == 0:
            restarts.append(len(data))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return data + b"".join(struct.pack("<I", one) for one in restarts) + struct.pack("<I", len(restarts))


def write_checkpoint(path, tensors, compressed=0):
    """Write ``path.index`` and ``path.data-00000-of-00001`` of float32 arrays; int64 ones are no weights."""
    entries, data = [(b"", field(1, 1))], b""
    for name in sorted(tensors):
        values = np.asarray(tensors[name])
        shape = b"".join(field(2, field(1, size)) for size in values.shape)
        kind = 1 if values.dtype == np.float32 else 9
        raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
        message = field(1, kind) + field(2, shape) + (field(4, len(data)) if data else b"") + field(5, len(raw))
        entries.append((name.encode(), message + varint(6 << 3 | 5) + b"\0\0\0\0"))
        data += raw
    half = len(entries) // 2
    table, handles = b"", []
    for part in (entries[:half], entries[half:]):
        content = block(part)
        handles.append((part[-1][0], varint(len(table)) + varint(len(content))))
        table += content + bytes([compressed]) + b"\0\0\0\0"
    index = block(handles, restart=1)
    handle = varint(len(table)) + varint(len(index))
    table += index + b"\0" + b"\0\0\0\0"
    path.with_name(path.name + ".index").write_bytes(table + (varint(0) + varint(0) + handle).ljust(40, b"\0") + MAGIC)
    path.with_name(path.name + ".data-00000-of-00001").write_bytes(data)
    return path.with_name(path.name + ".index")


def hsrnet_variables():
    torch.manual_seed(0)
    network = create_network("hsrnet", hsi_bands=31, msi_bands=3)
    state = network.state_dict()
    values = {theirs: state[ours] for theirs, ours in network.released_names().items()}
    stored = {name: one.permute(2, 3, 1, 0) if one.dim() == 4 else one for name, one in values.items()}
    return network, {name: one.contiguous().numpy() for name, one in stored.items()}


def test_weights_of_hsrnet_as_its_program_saves_them(tmp_path):
    network, variables = hsrnet_variables()
    slots = {f"{name}/Adam": values for name, values in variables.items() if "weights" in name}
    more = {"beta1_power": np.float32(0.9), "global_step": np.int64(150000)}
    path = write_checkpoint(tmp_path / "model-150000.ckpt", variables | slots | more)
    again = from_released(path)
    assert (again.name, again.hsi_bands, again.msi_bands, again.options.ratio) == ("hsrnet", 31, 3, 4)
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_scalars_and_the_names_that_share_a_beginning(tmp_path):
    given = {f"a/b_{number}": np.arange(number + 1, dtype=np.float32) for number in range(40)} | {"c": np.float32(2.5)}
    found = read_weights(write_checkpoint(tmp_path / "x", given))
    assert found.keys() == given.keys()
    assert all(np.array_equal(found[name].numpy(), value) for name, value in given.items())


def test_files_that_are_none_are_refused(tmp_path):
    path = write_checkpoint(tmp_path / "x", {"a": np.ones(300, np.float32), "b": np.ones((2, 2), np.float32)})
    whole = path.read_bytes()
    with pytest.raises(InputError, match="it is compressed"):
        read_weights(write_checkpoint(tmp_path / "y", {"a": np.ones(3, np.float32)}, compressed=1))
    path.write_bytes(whole[:-3])
    with pytest.raises(InputError, match="its end is another"):
        read_weights(path)
    path.write_bytes(whole)
    data = tmp_path / "x.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"'b' of shape \(2, 2\) does not fit x\.data-00000-of-00001"):
        read_weights(path)
    data.unlink()
    with pytest.raises(InputError, match=r"no x\.data-00000-of-00001 next to it"):
        read_weights(path)


def test_any_damage_is_an_input_error_or_other_values(tmp_path):
    path = write_checkpoint(tmp_path / "x", {f"a{number}": np.ones(3, np.float32) for number in range(9)})
    whole = path.read_bytes()
    generator = np.random.default_rng(1)
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(int(generator.integers(1, 4))):
            damaged[int(generator.integers(len(damaged)))] = int(generator.integers(256))
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            read_weights(path)
