"""Every test runs on eight simulated CPU devices, with strict ranks and a compilation cache."""

import pathlib
import tempfile

import jax
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
_CACHE = pathlib.Path(tempfile.gettempdir()) / "clef_jax_test_cache"
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(scope="session")
def raw_dir(tmp_path_factory) -> pathlib.Path:
    """A simulated cohort in the layout of MIMIC-IV-ECG."""
    from clef_jax import simulate

    folder = tmp_path_factory.mktemp("cohort") / "raw"
    simulate.main([f"--out={folder}", "--patients=40", "--defect-rate-multiplier=5"])
    return folder


@pytest.fixture(scope="session")
def data_dir(raw_dir, tmp_path_factory) -> pathlib.Path:
    """The cohort, prepared in both configurations."""
    from clef_jax import prepare

    folder = tmp_path_factory.mktemp("prepared")
    for name in ("mimic_iv_ecg", "mimic_iv_ecg/all_records"):
        prepare.main([f"--dataset={name}", f"--source={raw_dir}", f"--data-dir={folder}"])
    return folder
