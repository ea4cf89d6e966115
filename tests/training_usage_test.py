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
