"""Records some steps of a run for TensorBoard and Perfetto."""

import pathlib

import jax

PROFILE_FOLDER = "profile"


class Trace:
    """Records the steps from the first to the last one asked for; process 0 does."""

    def __init__(self, steps: tuple[int, int] | None, workdir: pathlib.Path):
        """`steps`: numbers of updates, from 1; None records nothing."""
        self._steps = steps if jax.process_index() == 0 else None
        self.folder = workdir / PROFILE_FOLDER
        self._recording = False

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_) -> None:
        """A run that ends early keeps what was recorded so far."""
        self._stop()

    def step(self, number: int) -> jax.profiler.StepTraceAnnotation:
        """Marks update `number`; begins to record if it is the first one asked for."""
        if self._steps is not None and number == self._steps[0]:
            jax.profiler.start_trace(str(self.folder), create_perfetto_trace=True)
            self._recording = True
        return jax.profiler.StepTraceAnnotation("train", step_num=number)

    def step_done(self, number: int, result: object) -> bool:
        """Whether this was the last update to record; its `result` is waited for.

        A run that resumes in the middle records nothing.
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
