"""The rule by which size, batch, steps, rate and warm-up follow from the minutes of a scored run.

1. The speed of the smallest encoder that is wanted is measured with `BASE_BATCH` patients per step.
2. A larger encoder is taken while `FULL_STEPS` of its steps fit in the time: predicted from the
   ratio of the floating-point operations, then measured.
3. The batch is doubled while `FULL_STEPS` of its steps fit, up to `MAX_BATCH` and a quarter of the
   training patients: predicted to take twice the time, then measured.
4. The steps are those that fit in `USED` of the time after a start (reading, compiling, saving) as
   long as the measured one; fewer than `MIN_STEPS` are refused.
5. The peak learning rate is that of the size, times the square root of batch / `BASE_BATCH`; the
   warm-up takes a twentieth of the steps, and the rate then falls by one cosine.

Both predictions are upper bounds: a larger network and a larger batch use a device no worse.
"""

import dataclasses
import math
from collections.abc import Callable

from clef_jax.errors import UserError, counted
from clef_jax.models import cost, size as size_lib

BASE_BATCH, MAX_BATCH = 64, 1024
FULL_STEPS, MIN_STEPS = 2000, 50
USED = 0.95
SIZES = ("small", "medium", "large")
RATES = {"tiny": 1e-3, "small": 1e-3, "medium": 5e-4, "large": 3e-4}
"""Peak learning rate of each size at `BASE_BATCH`; measured for small alone."""
WARMUP_FRACTION = 0.05
_NOMINAL_SAMPLES = 5000
"""Length of a view for which the sizes are compared; their ratio hardly depends on it."""
_CHECKPOINT_SECONDS = 30.0
"""Time between two checkpoints, which a kill can cost."""


@dataclasses.dataclass(frozen=True)
class Speed:
    """Measured speed of a training with one size and batch."""

    start_seconds: float
    """Time of a run without its steps: reading, compiling, saving."""
    step_seconds: float


Measure = Callable[[str, int], Speed]
"""Maps a size and a batch to the measured speed."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """Settings that follow from the minutes."""

    size: str
    batch: int
    num_steps: int
    speed: Speed | None
    """Measured speed of this size and batch; None if the number of steps was given."""


def choose(
    minutes: float,
    measure: Measure,
    *,
    num_patients: int,
    num_devices: int = 1,
    size: str | None = None,
    batch: int | None = None,
) -> Choice:
    """Returns size, batch and steps for some minutes on this machine.

    Args:
        minutes: time for the pre-training.
        measure: measures the speed of a size and a batch.
        num_patients: number of training patients.
        num_devices: number of devices, which share a batch.
        size: size that is wanted; by default the rule decides.
        batch: batch that is wanted; by default the rule decides.

    Raises:
        UserError: fewer than `MIN_STEPS` fit; the message says how many minutes they need.
    """
    seconds = 60 * minutes * USED
    chosen_size, chosen_batch = size or SIZES[0], batch or first_batch(num_patients, num_devices)
    speed = measure(chosen_size, chosen_batch)

    def fits(step_seconds: float) -> bool:
        return speed.start_seconds + FULL_STEPS * step_seconds <= seconds

    while size is None and chosen_size != SIZES[-1]:
        larger = SIZES[SIZES.index(chosen_size) + 1]
        ratio = _flops(larger) / _flops(chosen_size)
        if not fits(speed.step_seconds * ratio):
            break
        measured = measure(larger, chosen_batch)
        if not fits(measured.step_seconds):
            break
        chosen_size, speed = larger, measured
    most = min(MAX_BATCH, num_patients // 4)
    while batch is None and 2 * chosen_batch <= most and fits(2 * speed.step_seconds):
        chosen_batch *= 2
        speed = measure(chosen_size, chosen_batch)
    num_steps = math.floor((seconds - speed.start_seconds) / speed.step_seconds)
    if num_steps < MIN_STEPS:
        needed = (speed.start_seconds + MIN_STEPS * speed.step_seconds) / (60 * USED)
        raise UserError(
            f"--minutes={minutes:g} suffices for {max(num_steps, 0)} steps of {chosen_size} with "
            f"{chosen_batch} patients on this machine, but {MIN_STEPS} are the least; set "
            f"--minutes to {math.ceil(10 * needed) / 10:g} or more.",
            problem="too_few_minutes",
        )
    return Choice(chosen_size, chosen_batch, num_steps, speed)


def first_batch(num_patients: int, num_devices: int = 1) -> int:
    """Returns about `BASE_BATCH` patients, the same number on each device; fewer where there are
    not four times as many to train on.

    Raises:
        UserError: there are fewer training patients than two per step.
    """
    on_device = -(-BASE_BATCH // num_devices)
    while on_device > 1 and 4 * on_device * num_devices > num_patients:
        on_device //= 2
    batch = max(2, on_device * num_devices)
    if batch > num_patients:
        raise UserError(
            f"Only {counted(num_patients, 'training patient')} are left beside the test patients, "
            f"but a step needs {batch}; prepare more data.",
            problem="too_few_patients",
        )
    return batch


def derived(choice: Choice) -> dict[str, float | int | str]:
    """Returns the settings of training that follow from size, batch and steps, by field name."""
    rate = RATES[choice.size] * math.sqrt(choice.batch / BASE_BATCH)
    every = 100
    if choice.speed is not None:
        every = max(10, round(_CHECKPOINT_SECONDS / choice.speed.step_seconds))
    return {
        "size": choice.size,
        "global_batch_size": choice.batch,
        "num_steps": choice.num_steps,
        "learning_rate": float(f"{rate:.3g}"),
        "schedule": "cosine",
        "warmup_steps": int(WARMUP_FRACTION * choice.num_steps),
        "precision": "auto",
        "checkpoint_every_steps": every,
    }


def _flops(size: str) -> int:
    return cost.forward_flops(size_lib.by_name(size), _NOMINAL_SAMPLES)
