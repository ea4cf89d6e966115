import dataclasses
import functools

import pytest

from clef_jax.config import TrainConfig
from clef_jax.planning import memory, step, topology
from clef_jax.planning.memory import Memory

CONFIG = TrainConfig(data_dir="", workdir="", size="tiny", global_batch_size=64, window_seconds=1.0)
SHAPES = {"parameters_bytes": 4, "optimizer_bytes": 8, "batch_bytes": 16, "constants_bytes": 32}


@functools.cache
def lowered(name, **settings):

    config = dataclasses.replace(CONFIG, **settings)
    return step.lower(config, topology.by_name(name), 500.0)


def test_total_is_what_lives_at_the_peak():
    found = Memory(
        **SHAPES, arguments_bytes=100, outputs_bytes=1, temporaries_bytes=1000, code_bytes=7
    )
    assert found.total_bytes == 1108
    assert Memory(**SHAPES).total_bytes is None
    assert Memory(**SHAPES, refused_bytes=5).total_bytes == 5


def test_compiled_memory_names_state_and_batch():
    one = lowered("cpu:4")
    compiled, seconds = step.compile_step(one)
    found = memory.from_compiled(one, compiled, topology.by_name("cpu:4").chip)
    assert seconds > 0
    params = memory.device_bytes(one.state.params)
    assert found.parameters_bytes == params
    assert 2 * params <= found.optimizer_bytes <= 2 * params + 64  # two moments and a count
    assert found.batch_bytes == sum(x.size * x.dtype.itemsize for x in one.batch.values()) // 4
    named = found.parameters_bytes + found.optimizer_bytes
    named += found.batch_bytes + found.constants_bytes
    assert named <= found.arguments_bytes <= 1.1 * named
    assert found.outputs_bytes < 2000  # the new state takes the place of the old one
    assert found.temporaries_bytes > 0
    assert found.fits is None  # nobody told how much memory this machine has


def test_refusal_is_read():
    message = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (17.91G) exceeds available HBM (15.75G).\nMore"
    )
    refused = step.too_large(message)
    assert refused.required_bytes == round(17.91 * 2**30)
    assert refused.available_bytes == round(15.75 * 2**30)
    assert "\n" not in refused.message
    other = step.too_large("RESOURCE_EXHAUSTED: Used 900M of 0.5G hbm. Exceeded by 400M.")
    assert (other.required_bytes, other.available_bytes) == (900 * 2**20, 2**29)
    assert step.too_large("RESOURCE_EXHAUSTED: no figures").required_bytes is None

    one = lowered("h100:4")
    found = memory.from_compiled(one, refused, topology.by_name("v5e:2x2").chip)
    assert (found.fits, found.total_bytes) == (False, refused.required_bytes)
    assert found.available_bytes == refused.available_bytes


def test_traced_activations_are_those_of_a_device_and_fewer_with_remat_and_bfloat16():
    plain = step.saved_activations(lowered("h100:4", precision="float32"))
    assert plain == 2 * step.saved_activations(lowered("h100:8", precision="float32"))
    assert plain > 1.8 * step.saved_activations(lowered("h100:4", precision="bfloat16"))
    assert plain > 2 * step.saved_activations(lowered("h100:4", precision="float32", remat=True))


def test_microbatches_and_a_divided_optimizer_lower_what_a_device_holds():
    plain = lowered("h100:4")
    thrifty = lowered("h100:4", num_microbatches=8, shard_optimizer=True)
    chip = topology.by_name("h100:4").chip
    before, after = memory.from_trace(plain, chip), memory.from_trace(thrifty, chip)
    assert after.optimizer_bytes < 0.3 * before.optimizer_bytes
    assert after.parameters_bytes == before.parameters_bytes
    assert step.saved_activations(thrifty) == step.saved_activations(plain) // 8


def test_traced_memory_is_judged_against_the_chip():
    one = lowered("h100:4")
    chip = topology.by_name("h100:4").chip
    found = memory.from_trace(one, chip)
    activations = step.saved_activations(one)
    assert found.temporaries_bytes == activations + found.parameters_bytes
    assert found.fits is True

    small = dataclasses.replace(chip, memory_bytes=found.total_bytes)
    assert memory.from_trace(one, small).fits is False  # a program does not get all of it


@pytest.mark.parametrize(
    ("dtype", "remat", "first"),
    [
        ("float32", False, "--precision=bfloat16"),
        ("bfloat16", False, "--remat"),
        ("bfloat16", True, "--num-microbatches="),
    ],
)
def test_advice_begins_with_what_is_not_done_yet(dtype, remat, first):

    config = dataclasses.replace(CONFIG, remat=remat)
    full = Memory(**SHAPES, refused_bytes=1000, available_bytes=522, fits=False)
    assert memory.advice(config, dtype, full, 4)[0].startswith(first)


def test_advised_batch_splits_over_the_devices_and_is_smaller_by_proportion():
    full = Memory(**SHAPES, refused_bytes=1044, available_bytes=544, fits=False)
    parts, smaller, divided = memory.advice(CONFIG_WITH_REMAT, "bfloat16", full, 4)
    # 44 bytes do not depend on the batch; half of the others fit.
    assert "--num-microbatches=2 " in parts
    assert "--global-batch-size=32 " in smaller
    assert "--shard-optimizer " in divided
    assert memory.advice(CONFIG, "bfloat16", Memory(**SHAPES, fits=True), 4) == []
    assert memory.advice(CONFIG, "bfloat16", Memory(**SHAPES), 4) == []
    least, divided = memory.advice(CONFIG_WITH_REMAT, "bfloat16", full, 64)
    assert "--" not in least  # no option makes one patient smaller
    assert "--shard-optimizer " in divided
    assert len(memory.advice(CONFIG_WITH_REMAT, "bfloat16", full, 1)) == 2


CONFIG_WITH_REMAT = TrainConfig(
    data_dir="", workdir="", size="tiny", global_batch_size=64, remat=True
)
