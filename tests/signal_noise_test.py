import numpy as np
import scipy.io
from culprits import refuses

from clef_jax.signal import noise

KEYS = ("motion_artefacts", "electrode_movement", "baseline_wander", "mixture_of_noises")


def matrices(num_samples=600):
    rng = np.random.default_rng(0)
    return {key: rng.standard_normal((15, num_samples)) for key in KEYS}


def saved(tmp_path, content):
    path = tmp_path / "DATA_noises_real.mat"
    scipy.io.savemat(path, content)
    return path


def test_recorded_noise_is_read_by_name_and_kept_as_it_is(tmp_path):
    content = matrices()
    bank = noise.load_noise(saved(tmp_path, content))
    assert bank.noise_mv.dtype == np.float32
    for kind, key in zip(noise.KINDS, KEYS, strict=True):
        got = bank.noise_mv[noise.KINDS.index(kind)]
        np.testing.assert_array_equal(got, content[key].astype(np.float32))


def test_recorded_noise_is_resampled_and_cut_to_the_shortest(tmp_path):
    content = matrices() | {"baseline_wander": np.ones((15, 500))}
    bank = noise.load_noise(saved(tmp_path, content), sample_rate_hz=250.0)
    assert bank.noise_mv.shape == (4, 15, 250)
    np.testing.assert_allclose(bank.noise_mv[2], 1, atol=1e-6)


def test_files_that_are_no_noise_files_are_refused(tmp_path):
    for read in (noise.fingerprint, noise.load_noise):
        with refuses(tmp_path / "absent.mat", "--noise-path", problem="missing_file"):
            read(tmp_path / "absent.mat")
        with refuses(tmp_path, problem="missing_file"):
            read(tmp_path)
    with refuses(tmp_path / "absent.mat", problem="missing_file"):
        noise.load_noise(tmp_path / "absent.mat")
    content = matrices()
    del content["baseline_wander"]
    with refuses("'baseline_wander'", "electrode_movement", problem="missing_variable"):
        noise.load_noise(saved(tmp_path, content))
    with refuses("motion_artefacts", "(600, 15)", problem="wrong_shape"):
        noise.load_noise(saved(tmp_path, matrices() | {"motion_artefacts": np.ones((600, 15))}))
    with refuses("motion_artefacts", problem="not_finite"):
        noise.load_noise(
            saved(tmp_path, matrices() | {"motion_artefacts": np.full((15, 9), np.nan)})
        )
    other = tmp_path / "text.mat"
    other.write_text("not a MATLAB file, and long enough to be taken for one" * 10)
    with refuses(other, problem="unreadable"):
        noise.load_noise(other)


def test_without_a_file_noise_is_generated():
    bank = noise.load_noise(sample_rate_hz=100.0, num_seconds=20)
    assert bank.noise_mv.shape == (4, 15, 2000)
    assert bank.sample_rate_hz == 100.0
