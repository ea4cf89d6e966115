"""One folder of compiled programs for all processes of the tests, on one machine.

A training run compiles for half a minute; with this cache, only the first one does. Tests import
this module, and so do the training processes that they start; other processes find the folder in
their environment.
"""

import os
import pathlib
import tempfile
import types

import jax
import jaxlib
from jax._src import compiler, lru_cache

FOLDER = pathlib.Path(tempfile.gettempdir()) / f"clef_jax_test_cache_{jaxlib.__version__}"


def use() -> None:
    """Makes this process and those that it starts keep every program that they compile."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(FOLDER)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", str(FOLDER))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    lru_cache.LRUCache.put = _put
    # On CPUs each process of a run compiles programs with keys of their own, but JAX lets only
    # process 0 write, so that the others would compile at every start.
    state = types.SimpleNamespace(process_id=0, client=None)
    compiler.distributed = types.SimpleNamespace(global_state=state)


def _put(self, key: str, value: bytes) -> None:
    """Writes an entry of the cache at once: another process may be reading it."""
    path = self.path / f"{key}{lru_cache._CACHE_SUFFIX}"
    if path.exists():
        return
    partial = self.path / f"{key}.{os.getpid()}.partial"
    partial.write_bytes(value)
    partial.replace(path)
