"""Tests that samples are decoded as the formats' description says, and as wfdb decodes them."""

import numpy as np
import pytest

from clef_jax.wfdb import storage

# Each row: the bytes, and the samples by signal(5), written out by hand.
DECODED = {
    "8": ([1, 255, 128], [1, -1, -128]),
    "16": ([1, 0, 255, 255, 0, 128], [1, -1, -32768]),
    "24": ([1, 0, 0, 255, 255, 255, 0, 0, 128], [1, -1, -(1 << 23)]),
    "32": ([1, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 128], [1, -1, -(1 << 31)]),
    "61": ([0, 1, 255, 255, 128, 0], [1, -1, -32768]),
    "80": ([129, 127, 0], [1, -1, -128]),
    "160": ([1, 128, 255, 127, 0, 0], [1, -1, -32768]),
    "212": ([0x01, 0xF0, 0xFF, 0x00, 0x18, 0x02], [1, -1, -2048, 258]),
    # Sample 1 is 1, sample 2 is -1, sample 3 is -512 in bits 0 to 9, 10 to 19 and 20 to 29.
    "311": (list((1 | 0x3FF << 10 | 0x200 << 20).to_bytes(4, "little")), [1, -1, -512]),
    # Two words hold samples 1 and 2 in bits 1 to 10, and halves of sample 3 above.
    "310": (list((1 << 1 | (0x3FF << 1 | 0x10 << 11) << 16).to_bytes(4, "little")), [1, -1, -512]),
}


@pytest.mark.parametrize("name", DECODED)
def test_samples_are_decoded_from_any_position(name, tmp_path):
    data, samples = DECODED[name]
    file = tmp_path / "r.dat"
    file.write_bytes(bytes(7) + bytes(data))
    assert storage.is_known(name)
    assert storage.count_samples(name, len(data)) == len(samples)
    assert storage.count_bytes(name, len(samples)) == len(data)
    for start in range(len(samples)):
        for count in range(len(samples) - start + 1):
            got = storage.read(file, name, 7, start, count)
            np.testing.assert_array_equal(got, samples[start : start + count])


def test_an_incomplete_last_block_holds_the_samples_whose_bytes_are_there(tmp_path):
    (tmp_path / "r.dat").write_bytes(bytes([0x01, 0x00, 0x02, 0x05, 0x00]))
    assert storage.count_samples("212", 5) == 3
    got = storage.read(tmp_path / "r.dat", "212", 0, 0, 3)
    np.testing.assert_array_equal(got, [1, 2, 5])


@pytest.mark.parametrize(
    ("name", "value"),
    [("16", -(1 << 15)), ("212", -2048), ("80", -128), ("310", -512), ("524", -(1 << 23))],
)
def test_the_smallest_value_of_a_format_means_missing(name, value):
    assert storage.missing_value(name) == value


def test_differences_have_no_value_that_means_missing():
    assert np.isnan(storage.missing_value(storage.DIFFERENCES))


def test_compressed_and_unknown_formats_are_not_read_here():
    assert not any(map(storage.is_known, ("516", "99", "0")))
