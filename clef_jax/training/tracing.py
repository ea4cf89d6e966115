"""Profiles some steps of a run for TensorBoard and Perfetto."""

import pathlib

import jax

PROFILE_FOLDER = "profile"


class Trace:
    """Records a profile of the requested steps, in process 0."""

    def __init__(self, steps: tuple[int, int] | None, workdir: pathlib.Path):
        """`steps`: first and last update to record, counted from 1; None records nothing."""
        self._steps = steps if jax.process_index() == 0 else None
        self.folder = workdir / PROFILE_FOLDER
        self._recording = False

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_) -> None:
        """Saves what was recorded so far, also when the run ends early."""
        self._stop()

    def step(self, number: int) -> jax.profiler.StepTraceAnnotation:
        """Marks update `number` in the profile, and starts recording at the first one requested."""
        if self._steps is not None and number == self._steps[0]:
            jax.profiler.start_trace(str(self.folder), create_perfetto_trace=True)
            self._recording = True
        return jax.profiler.StepTraceAnnotation("train", step_num=number)

    def step_done(self, number: int, result: object) -> bool:
        """Waits for `result` and saves the profile if this was the last update to record.

        A run that resumes after the first update to record records nothing.

        Returns:
            True if the profile was saved.
        """
        if not self._recording or self._steps is None or number < self._steps[1]:
            return False
        jax.block_until_ready(result)
        self._stop()
        return True

    def _stop(self) -> None:
        if self._recording:
            self._recording = False
            jax.profiler.stop_trace()
