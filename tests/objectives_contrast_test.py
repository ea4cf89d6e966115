"""Several blocks and any number of devices agree with one block on one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from clef_jax.machine import use_platform
from clef_jax.objectives import _blocks, clef, simclr

from objectives_clef_test import FEW_CONFIGS  # isort: skip

pytestmark = pytest.mark.usefixtures("quick_compiler")


def batch(num_patients=32, dimension=16, seed=0, unknown=True):
    rng = np.random.default_rng(seed)
    views = rng.standard_normal((2, num_patients, dimension)).astype(np.float32)
    risk = rng.gamma(2, 0.04, num_patients).astype(np.float32)
    if unknown:
        risk[1::7] = np.nan
    completeness = rng.integers(0, 7, num_patients).astype(np.float32) / 6
    return tuple(map(jnp.asarray, (*views, risk, completeness)))


def value_and_gradient(arrays, config, **options):
    def loss(views, rest):
        terms = clef.terms(*views, *rest, config, **options)
        return terms["loss"], terms

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(arrays[:2], arrays[2:])


def assert_same(got, want, tolerance):
    (_, terms), gradient = got
    (_, want_terms), want_gradient = want
    for name, value in want_terms.items():
        np.testing.assert_allclose(terms[name], value, rtol=tolerance, err_msg=name)
    largest = max(np.abs(x).max() for x in want_gradient)
    for x, y in zip(gradient, want_gradient, strict=True):
        np.testing.assert_allclose(x, y, atol=tolerance * largest)


@pytest.mark.parametrize("config", FEW_CONFIGS)
def test_streamed_equals_plain_for_all_options(config):
    arrays = batch()
    want = value_and_gradient(arrays, config, block_patients=32)
    assert_same(value_and_gradient(arrays, config, block_patients=8), want, 3e-6)


@pytest.mark.parametrize("block_patients", [5, 31])
def test_blocks_need_not_divide_the_patients(block_patients):
    arrays = batch()
    want = value_and_gradient(arrays, clef.PAPER, block_patients=32)
    assert_same(value_and_gradient(arrays, clef.PAPER, block_patients=block_patients), want, 3e-6)


def test_a_large_batch_is_streamed_by_itself_and_equals_the_plain_form():
    arrays = batch(1100, 32)
    assert _blocks.size(1100, 4 * 1100) < 1100
    want = value_and_gradient(arrays, clef.PAPER, block_patients=1100)
    assert_same(value_and_gradient(arrays, clef.PAPER), want, 3e-6)


def test_nearly_identical_embeddings_keep_their_digits():
    """An untrained encoder's similarities lie within thousandths; float64 is the reference."""
    view_a, view_b, risk, completeness = batch()
    arrays = 1 + 0.03 * view_a, 1 + 0.03 * view_b, risk, completeness
    got = clef.terms(*arrays, block_patients=5)
    with jax.enable_x64(True):
        want = clef.terms(*(jnp.asarray(np.asarray(x), jnp.float64) for x in arrays))
        want = {name: float(value) for name, value in want.items()}
    for name, value in got.items():
        np.testing.assert_allclose(value, want[name], rtol=1e-3, err_msg=name)


def mesh_of(num_devices):
    devices = jax.devices()[:num_devices]
    return jax.make_mesh((num_devices,), ("data",), axis_types=(AxisType.Auto,), devices=devices)


@pytest.mark.parametrize("num_devices", [1, 2, 4, 8])
@pytest.mark.parametrize(("block_patients", "unknown"), [(None, True), (3, False)])
def test_any_number_of_devices_gives_what_one_does(num_devices, block_patients, unknown):
    arrays = batch(unknown=unknown)
    want = value_and_gradient(arrays, clef.PAPER)
    mesh = mesh_of(num_devices)
    sharded = jax.device_put(arrays, NamedSharding(mesh, P("data")))
    got = value_and_gradient(sharded, clef.PAPER, mesh=mesh, block_patients=block_patients)
    assert_same(got, want, 1e-5)


@pytest.mark.parametrize("config", FEW_CONFIGS[1:])
def test_devices_agree_for_all_options(config):
    arrays = batch()
    want = value_and_gradient(arrays, config)
    assert_same(value_and_gradient(arrays, config, mesh=mesh_of(8)), want, 1e-5)


def test_the_gradient_reaches_parameters_through_the_encoder_once():
    """A sum over devices instead of a mean would show as a factor of eight."""
    view_a, view_b, risk, completeness = batch()
    weight = jnp.asarray(np.random.default_rng(2).standard_normal((16, 8)), jnp.float32)

    def loss(weight, mesh):
        return clef.loss(view_a @ weight, view_b @ weight, risk, completeness, mesh=mesh)

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    want = gradient(weight, None)
    np.testing.assert_allclose(gradient(weight, mesh_of(8)), want, atol=1e-5 * np.abs(want).max())


def test_patients_that_the_devices_do_not_divide_are_rejected():
    with refuses("12 patients", "8 devices", error=ValueError):
        clef.loss(*batch(12), mesh=mesh_of(8))


def test_the_minimum_similarity_carries_its_gradient():
    arrays = batch(6, 4)
    config = clef.Config(nce_weight=0.0)

    @jax.jit
    def loss(views):
        return clef.loss(*views, *arrays[2:], config)

    (gradient_a, _), step = jax.grad(loss)(arrays[:2]), 1e-3
    for i, j in ((0, 0), (3, 2), (5, 1)):
        up, down = (arrays[0].at[i, j].add(sign * step) for sign in (1, -1))
        numeric = (loss((up, arrays[1])) - loss((down, arrays[1]))) / (2 * step)
        np.testing.assert_allclose(gradient_a[i, j], numeric, atol=2e-4)


def compiled(num_patients, dimension, **options):
    views = jax.ShapeDtypeStruct((num_patients, dimension), jnp.float32)
    scalars = jax.ShapeDtypeStruct((num_patients,), jnp.float32)

    def loss(view_a, view_b, risk, completeness):
        return clef.loss(view_a, view_b, risk, completeness, **options)

    step = jax.jit(jax.value_and_grad(loss, (0, 1)))
    return step.lower(views, views, scalars, scalars).compile()


def temporary_mib(num_patients, dimension, **options):
    return compiled(num_patients, dimension, **options).memory_analysis().temp_size_in_bytes / 2**20


def test_streaming_keeps_the_temporaries_small():
    streamed = temporary_mib(1536, 64)
    assert streamed < 40
    assert streamed < temporary_mib(1536, 64, block_patients=1536) / 4


@pytest.mark.slow
def test_temporaries_of_a_large_batch_stay_within_the_target():
    assert temporary_mib(4096, 256) <= 100


def test_only_embeddings_and_arrays_of_patients_are_exchanged_between_devices():
    n, dimension = 64, 16
    text = compiled(n, dimension, mesh=mesh_of(8)).as_text()
    gathers = [line for line in text.splitlines() if " all-gather(" in line]
    assert gathers
    shapes = [line.split("=")[1].split("[")[1].split("]")[0] for line in gathers]
    sizes = [np.prod([int(x) for x in shape.split(",") if x]) for shape in shapes]
    assert max(sizes) <= 2 * n * dimension


def test_simclr_streams_too():
    view_a, view_b, risk, completeness = batch()
    want = simclr.loss(view_a, view_b, risk, completeness)
    got = simclr.loss(view_a, view_b, risk, completeness, block_patients=5)
    np.testing.assert_allclose(got, want, rtol=3e-6)


def test_a_tpu_has_larger_blocks():
    arrays = batch(1025)

    def program():
        return str(jax.make_jaxpr(lambda *x: clef.terms(x[0], x[1], x[2], x[3]))(*arrays))

    assert "scan[" in program()
    with use_platform("tpu"):
        assert "scan[" not in program()
        got = value_and_gradient(arrays, clef.PAPER)
    assert_same(got, value_and_gradient(arrays, clef.PAPER), 2e-6)
