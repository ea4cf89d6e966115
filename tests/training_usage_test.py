import dataclasses

import jax
import optax
import pytest

from clef_jax import chip, mesh as mesh_lib
from clef_jax.config import TrainConfig
from clef_jax.training import state as state_lib, usage

CONFIG = TrainConfig(data_dir="", workdir="", size="tiny", global_batch_size=16)


def make_usage(num_devices):
    mesh = mesh_lib.make_mesh(jax.devices()[:num_devices])
    trainer = state_lib.make_trainer(CONFIG, optax.constant_schedule(1e-3), mesh)
    return usage.Usage(trainer, num_samples=500)


def test_a_processor_tells_its_memory_and_no_utilization():
    values = make_usage(1).measure(0.5)
    assert "model_flops_utilization" not in values
    assert 0.05 < values["host_memory_gib"] < 1000


def test_utilization_counts_the_operations_of_one_device(monkeypatch):
    fast = dataclasses.replace(chip.CHIPS["cpu"], peak_flops_per_second=1e12, device_kinds=("cpu",))
    monkeypatch.setitem(chip.CHIPS, "cpu", fast)
    one, four = (make_usage(n).measure(0.5)["model_flops_utilization"] for n in (1, 4))
    assert one == pytest.approx(4 * four)
    assert one == pytest.approx(2 * make_usage(1).measure(1.0)["model_flops_utilization"])
    assert "model_flops_utilization" not in make_usage(1).measure(0.0)


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
    found = chip.by_device_kind(device_kind)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("kind", ["cpu", "NVIDIA H100 PCIe", "NVIDIA A100-SXM4-40GB", "TPU v9"])
def test_other_kinds_have_no_known_rates(kind):
    assert chip.by_device_kind(kind) is None
