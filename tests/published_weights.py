"""Weights and inputs of the goldens of published networks (rule `crc-v1`)."""

import json

import crc_weight
import jax
import numpy as np
from flax import nnx

SEED = crc_weight.INPUT_SEED


def make(shapes, dtype="float32"):
    """The weights of a network with the given shapes by key."""
    arrays = {key: crc_weight.make_weight(key, shape) for key, shape in shapes.items()}
    return {k: v.astype(dtype) if v.dtype == np.float32 else v for k, v in arrays.items()}


def manifest(shared, name):
    """The shapes of a published file by key; positions are left to their formula."""
    text = (shared / "golden" / f"baseline_{name}_manifest.json").read_text()
    entries = json.loads(text)["state_dict"]
    return {e["key"]: tuple(e["shape"]) for e in entries if not e["key"].endswith(".pe")}


def golden(shared, name):
    """Outputs of the public implementation: arrays, and the summary of each stage."""
    folder = shared / "golden"
    with np.load(folder / f"public_baseline_{name}_stages.npz") as arrays:
        summary = json.loads((folder / f"public_baseline_{name}_stages.json").read_text())
        return dict(arrays), summary


def signal(length, num_leads, dtype="float32"):
    """Two signals, [2, T, C]."""
    drawn = np.random.default_rng(SEED + length).standard_normal((2, num_leads, length))
    return drawn.astype(np.float32).astype(dtype).swapaxes(1, 2)


def run(network, function, *inputs):
    """What a function of a network and inputs returns when it is compiled."""
    graph, state = nnx.split(network)
    compiled = jax.jit(lambda state, *inputs: function(nnx.merge(graph, state), *inputs))
    return jax.tree.map(np.asarray, compiled(state, *inputs))


def assert_features(got, want, tolerance):
    """Compares features; the tolerance is relative to the largest in float32."""
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    scale = np.abs(want).max() if want.dtype == np.float32 else 1.0
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)


def assert_stages(got, want, *, channels_last=()):
    """Compares shape, sum, norm and first values of each stage with those of the golden."""
    assert len(got) == len(want)
    for (name, value), expected in zip(got, want, strict=True):
        value = value.swapaxes(1, 2) if name in channels_last else value
        assert list(value.shape) == expected["shape"], name
        scale = max(1.0, np.abs(value).max())
        np.testing.assert_allclose(value.sum(), expected["sum"], rtol=1e-9, atol=1e-6 * scale)
        np.testing.assert_allclose(np.sqrt((value**2).sum()), expected["l2"], rtol=1e-10)
        first = value.ravel()[: len(expected["first8"])]
        np.testing.assert_allclose(first, expected["first8"], rtol=0, atol=1e-9 * scale)


def assert_gradients(network, signal, want_signal, want_norms, rename=lambda key: key):
    """Compares the gradients of sum(features ** 2) / 2 with those of the golden."""
    graph, state = nnx.split(network)

    def energy(state, signal):
        return (nnx.merge(graph, state)(signal) ** 2).sum() / 2

    grads, of_signal = jax.jit(jax.grad(energy, (0, 1), allow_int=True))(state, signal)
    scale = np.abs(want_signal).max()
    got = np.asarray(of_signal).swapaxes(1, 2)
    np.testing.assert_allclose(got, want_signal, rtol=0, atol=1e-6 * scale)
    norms = {
        path[1]: float(np.sqrt((np.asarray(value[...]) ** 2).sum()))
        for path, value in nnx.to_flat_state(grads)
        if value[...].dtype != jax.dtypes.float0  # of the numbers of batches
    }
    for key, want in want_norms.items():
        np.testing.assert_allclose(norms[rename(key)], want, rtol=1e-8, atol=1e-9, err_msg=key)


def check_refusals(from_torch, weights, key, wrong_shape):
    """Refuses one key missing, one added and one misshapen, and reads prefixes and nesting."""
    from culprits import refuses

    with refuses(key, "missing", problem="wrong_weights"):
        from_torch({k: v for k, v in weights.items() if k != key})
    with refuses("surplus.weight", "unknown", problem="wrong_weights"):
        from_torch({**weights, "surplus.weight": np.zeros(3, np.float32)})
    with refuses(key, str(list(wrong_shape)), problem="wrong_weights"):
        from_torch({**weights, key: np.zeros(wrong_shape, np.float32)})
    with refuses(key, problem="wrong_weights"):
        from_torch({**weights, key: np.full_like(weights[key], np.nan)})
    with refuses("not_prefixed.weight", "unknown", problem="wrong_weights"):
        prefixed = {f"net.{k}": v for k, v in weights.items()}
        from_torch({**prefixed, "not_prefixed.weight": np.zeros(3, np.float32)})
    nested = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in weights.items()}}
    np.testing.assert_array_equal(from_torch(nested)[key], from_torch(weights)[key])
    with refuses("several", problem="ambiguous_weights"):
        from_torch({"a": weights, "b": weights})
