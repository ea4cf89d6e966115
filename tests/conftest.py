"""Every test runs on eight simulated CPU devices, with strict rank promotion and a compilation cache."""

import pathlib
import tempfile

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
_CACHE = pathlib.Path(tempfile.gettempdir()) / "clef_jax_test_cache"
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
