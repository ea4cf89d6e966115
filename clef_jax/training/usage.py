"""Measures the fraction of the chip's peak that a training step reaches, and its memory."""

import sys

import jax

from clef_jax import chip as chip_lib
from clef_jax.models import cost, size as size_lib
from clef_jax.training import state as state_lib

_GIB = 2**30
_RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


class Usage:
    """Measures compute and memory use of a training step."""

    def __init__(self, trainer: state_lib.Trainer, num_samples: int):
        config, mesh = trainer.config, trainer.mesh
        size, batch = size_lib.by_name(config.size), config.global_batch_size
        rows = batch // mesh.size
        self._flops = cost.model_flops(size, num_samples, rows, batch)
        chip = chip_lib.by_device_kind(mesh.devices.flat[0].device_kind)
        self._peak = None if chip is None else chip.peak_flops_per_second

    def measure(self, step_seconds: float) -> dict[str, float]:
        """Returns measures of a step that takes `step_seconds`, by name.

        `model_flops_utilization` is the fraction of the chip's bfloat16 peak that the network's own
        operations reach (Chowdhery et al. 2022, arXiv 2204.02311, appendix B); it is absent where
        the peak is unknown. `host_memory_gib` is the peak memory of this process so far, and
        `device_memory_gib` that of its devices; each is absent where the system does not report it.
        """
        values = {}
        if self._peak and step_seconds > 0:
            values["model_flops_utilization"] = self._flops / self._peak / step_seconds
        peaks = [(d.memory_stats() or {}).get("peak_bytes_in_use") for d in jax.local_devices()]
        known = [peak for peak in peaks if peak is not None]
        if known:
            values["device_memory_gib"] = max(known) / _GIB
        if sys.platform != "win32":
            import resource

            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT_BYTES
            values["host_memory_gib"] = used / _GIB
        return values
