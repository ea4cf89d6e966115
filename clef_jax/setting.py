"""Declares settings of a run, and checks their numbers."""

import dataclasses
import math
from typing import Any

from clef_jax.errors import UserError

RESUMABLE, PER_PROCESS = "resumable", "per_process"


def setting(
    default: Any = dataclasses.MISSING, *, resumable: bool = False, per_process: bool = False
) -> Any:
    """Declares a setting that may change within one run.

    Args:
        default: default value; by default the setting is required.
        resumable: whether a resumed run may change the setting, because it does not change what a
            step computes, except for rounding. (`preset` is resumable because the settings that
            result from it, `objective_config`, are compared; data, noise and a table of risks are
            compared by fingerprint.)
        per_process: whether the setting may differ between the processes of one run.
    """
    metadata = {RESUMABLE: resumable, PER_PROCESS: per_process}
    return dataclasses.field(default=default, metadata=metadata)


def declared(config: type, mark: str) -> frozenset[str]:
    """Returns the names of the settings whose metadata has a mark."""
    return frozenset(f.name for f in dataclasses.fields(config) if f.metadata.get(mark))


def flag(field: str) -> str:
    """Returns a setting's flag on the command line."""
    return "--" + field.replace("_", "-")


_AT_LEAST_1 = (
    "global_batch_size",
    "log_every_steps",
    "checkpoint_every_steps",
    "keep_checkpoints",
    "max_nonfinite_steps",
    "read_threads",
    "read_ahead_batches",
)
_AT_LEAST_0 = ("weight_decay", "warmup_steps", "health_every_steps", "read_processes")
_AT_LEAST_0 += ("stall_timeout_seconds", "num_microbatches")
_ABOVE_0 = ("window_seconds", "num_epochs", "max_grad_norm", "join_timeout_seconds")
_ABOVE_0 += ("encoder_rate_hz",)


def check_numbers(config: Any) -> None:
    """Raises UserError for a number of `TrainConfig` that is not finite or that no run can have."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise UserError(f"{flag(field.name)}={value} must be a finite number.")
    for names, limit, is_right in (
        (_AT_LEAST_1, "at least 1", lambda value: value >= 1),
        (_AT_LEAST_0, "at least 0", lambda value: value >= 0),
        (_ABOVE_0, "above 0", lambda value: value > 0),
    ):
        for name in names:
            value = getattr(config, name)
            if value is not None and not is_right(value):
                raise UserError(f"{flag(name)} must be {limit}, not {value}.")
