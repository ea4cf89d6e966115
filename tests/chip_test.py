import pytest

from clef_jax import chip as chip_lib


@pytest.mark.parametrize("chip", [x for x in chip_lib.CHIPS.values() if x.platform != "cpu"])
def test_every_chip_is_described_in_the_units_that_its_fields_name(chip):
    assert chip.reference
    assert 1e14 < chip.peak_flops_per_second < 1e16
    assert 1e10 < chip.memory_bytes < 1e12
    assert 1e11 < chip.memory_bytes_per_second < 1e13
    assert 1e10 < chip.link_bytes_per_second < 1e12
    # Every chip does between 2^17 and 2^19 operations in a cycle.
    if chip.clock_hz is not None:
        assert 2**17 * 0.9 < chip.peak_flops_per_second / chip.clock_hz < 2**19 * 1.1


@pytest.mark.parametrize(
    ("device_kind", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA H200", "h200"),
        ("TPU v5 lite", "v5e"),
        ("TPU v5", "v5p"),
        ("TPU v5p", "v5p"),
        ("TPU v6 lite", "v6e"),
        ("TPU v4", "v4"),
        ("TPU7x", "tpu7x"),
    ],
)
def test_devices_are_known_by_what_jax_calls_them(device_kind, name):
    chip = chip_lib.by_device_kind(device_kind)
    assert chip is not None
    assert chip.name == name


@pytest.mark.parametrize("kind", ["cpu", "NVIDIA H100 PCIe", "NVIDIA A100-SXM4-40GB", "TPU v9"])
def test_other_kinds_have_no_known_rates(kind):
    assert chip_lib.by_device_kind(kind) is None
