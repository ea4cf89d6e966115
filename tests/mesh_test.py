import jax
import numpy as np
from culprits import refuses

from clef_jax import mesh as mesh_lib


def test_all_devices_are_used_by_default():
    assert mesh_lib.make_mesh().shape == {mesh_lib.DATA: 8}


def test_uneven_batch_is_refused_with_sizes_that_would_do():
    mesh = mesh_lib.make_mesh()
    mesh_lib.check_batch_size(16, mesh)
    with refuses("--global-batch-size=17", "16 or 24"):
        mesh_lib.check_batch_size(17, mesh)
    with refuses("--global-batch-size=3", "8 devices"):
        mesh_lib.check_batch_size(3, mesh)


def test_rows_are_split_and_keep_their_order():
    batch = {"adc": np.arange(32).reshape(16, 2)}
    array = mesh_lib.to_devices(batch, mesh_lib.make_mesh(jax.devices()[:4]))["adc"]
    np.testing.assert_array_equal(array, batch["adc"])
    assert [shard.data.shape for shard in array.addressable_shards] == [(4, 2)] * 4
