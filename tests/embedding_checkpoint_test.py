"""The encoder of a run is read alone, without the optimiser."""

import jax
import numpy as np
import pytest

from clef_jax import mesh as mesh_lib
from clef_jax.embedding import checkpoint, encoder as encoder_lib
from clef_jax.embedding.recipe import Recipe
from clef_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])


def test_the_encoder_of_a_run(data_dir, tmp_path):
    from clef_jax import train

    flags = ["--size=tiny", f"--data-dir={data_dir}", f"--workdir={tmp_path}", "--num-steps=2"]
    train.main([*flags, "--global-batch-size=8", "--health-every-steps=0", "--seed=5"])
    found = checkpoint.load(tmp_path, ONE)
    assert (found.name, found.size) == (tmp_path.name, "tiny")
    assert found.recipe == Recipe(sample_rate_hz=500.0)
    untrained = encoder_lib.random("tiny", ONE, seed=5)
    assert found.fingerprint != untrained.fingerprint
    signal_mv = np.random.default_rng(0).normal(size=(4, 1, 5000)).astype(np.float32)
    assert np.isfinite(np.asarray(found(signal_mv, 500.0))).all()
    # Two small steps from the same start change little.
    got, start = found(signal_mv, 500.0), untrained(signal_mv, 500.0)
    np.testing.assert_allclose(got, start, atol=0.05)


def test_a_folder_without_a_run_is_reported(tmp_path):
    with pytest.raises(UserError, match="checkpoints"):
        checkpoint.load(tmp_path, ONE)
