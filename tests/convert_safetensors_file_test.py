"""Safetensors are read back unchanged, and malformed ones are rejected with a message."""

import json

import numpy as np
import pytest
import safetensors
from culprits import refuses

from clef_jax.convert.safetensors_file import read_safetensors, write_safetensors


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def write_raw(path, header, num_bytes, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    start = (len(text) if length is None else length).to_bytes(8, "little")
    path.write_bytes(start + text + bytes(num_bytes))


def entry(shape, start, end, kind="F32"):
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


def test_arrays_come_back_in_any_order_of_memory(path):
    arrays = {
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "every_second": np.arange(8.0)[::2],
        "bn1.num_batches_tracked": np.array(7, np.int64),
    }
    write_safetensors(path, arrays, {"fingerprint": "abc"})
    found = read_safetensors(path)
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array, strict=True)
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata() == {"fingerprint": "abc"}


def test_bfloat16_comes_in_as_float32(path):
    path.write_bytes(b"")
    write_raw(path, {"w": entry([1], 0, 2, "BF16")}, 0)
    path.write_bytes(path.read_bytes() + b"\xc0\x3f")
    np.testing.assert_array_equal(read_safetensors(path)["w"], np.float32([1.5]), strict=True)


@pytest.mark.parametrize(
    ("header", "num_bytes", "length", "problem"),
    [
        ({"w": entry([4], 0, 16)}, 16, 1 << 40, "header_too_large"),
        ({"w": entry([4], 0, 16)}, 16, 500, "header_too_large"),
        ({"w": entry([4], 0, 16)}, 8, None, "damaged"),
        ({"w": entry([1 << 40], 0, 16)}, 16, None, "damaged"),
        ({"w": entry([1 << 40], 0, 4 << 40)}, 16, None, "damaged"),
        ({"v": entry([4], 0, 16), "w": entry([2], 8, 16)}, 16, None, "damaged"),
        ({"w": entry([4], 0, 16, "F77")}, 16, None, "damaged"),
        (b'{"w": ', 0, None, "unreadable_header"),
        (b"{" * 100_000, 0, None, "unreadable_header"),
        ({"w": entry([2], 0, 16, "I64")}, 16, None, "not_real"),
        ({"w": entry([4], 0, 4, "F8_E4M3")}, 4, None, "not_real"),
    ],
)
def test_malformed_files_are_refused_in_a_sentence(path, header, num_bytes, length, problem):
    write_raw(path, header, num_bytes, length)
    with refuses(path, problem=problem):
        read_safetensors(path)


def test_a_name_that_occurs_twice_is_refused(path):
    one = json.dumps(entry([4], 0, 16))
    write_raw(path, f'{{"w": {one}, "w": {one}}}'.encode(), 16)
    with refuses(path, "w", problem="duplicate_name"):
        read_safetensors(path)


def test_infinite_weights_are_refused_by_name(path):
    write_safetensors(path, {"w": np.array([1, np.inf])}, {})
    with refuses(path, "w", problem="not_finite"):
        read_safetensors(path)


def test_a_header_beyond_the_limit_is_refused_although_the_file_has_it(path):
    write_raw(path, b"{" + b" " * (17 << 20) + b"}", 0)
    with refuses(path, problem="header_too_large"):
        read_safetensors(path)
