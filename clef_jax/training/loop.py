"""Runs the training loop: read, update, log, check the representation, save, stop."""

import contextlib
import dataclasses
import json
from typing import Any

import jax
import numpy as np

from clef_jax import folder_lock, mesh as mesh_lib
from clef_jax.data import pipeline, training_data
from clef_jax.errors import UserError, counted
from clef_jax.line_file import LineFile
from clef_jax.training import (
    active_time,
    checkpoint,
    health,
    logs,
    ownership,
    state as state_lib,
    step as step_lib,
    stopping,
    tracing,
    usage,
    watchdog,
)

NONFINITE_FILE = "nonfinite_steps.jsonl"
"""File in the workdir with the record ids of skipped steps."""

MIN_CHECK_PATIENTS = 32
"""Fewest patients of a representation check: ranks and correlations need this many."""


@dataclasses.dataclass
class Loop:
    """Runs the steps from a state to the end of the run."""

    trainer: state_lib.Trainer
    data: training_data.TrainingData
    sampler: training_data.Sampler
    constants: step_lib.Constants
    checkpoints: checkpoint.Checkpoints
    log: logs.Log
    metadata: dict[str, Any]
    """Settings and data's identity, saved with each checkpoint."""
    total_steps: int
    """Number of updates of the whole run."""
    lock: folder_lock.FolderLock | None = None
    """Lock of the workdir; None in processes that do not own it."""

    def __post_init__(self):
        num_samples = self.constants.bandpass.num_samples
        self.usage = usage.Usage(self.trainer, num_samples)

    def run(self, state: state_lib.TrainState) -> state_lib.TrainState:
        """Returns the state after the last step, or after the step at which the run was stopped."""
        active = active_time.ActiveTime()
        config, clock, step = self.trainer.config, logs.Clock(now=active.seconds), int(state.step)
        train_step = step_lib.make_train_step(self.trainer)
        batches = pipeline.make_batches(self.sampler, config, first_step=step)
        check = RepresentationCheck(self) if config.health_every_steps else None
        metrics, stop = None, stopping.StopSignal()
        dog = watchdog.Watchdog(config.stall_timeout_seconds, config.folder)
        trace = tracing.Trace(config.profile_steps, config.folder)
        compiling, last = True, step >= self.total_steps
        with active, stop, dog, trace:
            # A request to stop counts when `last` is set; a later one stops after the next step.
            while not last:
                dog.doing(f"waiting for the batch of step {step + 1} from {config.data_dir}")
                with clock.waiting("data"):
                    batch = mesh_lib.to_devices(next(batches), self.trainer.mesh)
                dog.doing(None if compiling else f"computing step {step + 1}")
                with trace.step(step + 1), jax.transfer_guard("disallow"):
                    state, next_metrics = train_step(state, batch, self.constants)
                # Metrics are read one step late, so that devices need not wait for the host.
                self.log_metrics(step, metrics, clock)
                metrics, step, compiling = next_metrics, step + 1, False
                clock.step_done()
                if trace.step_done(step, metrics):
                    self.log.console.print(
                        f"Recorded in {trace.folder}.", soft_wrap=True, markup=False
                    )
                stop.received |= self.checkpoints.preempted(step)
                last = step == self.total_steps or stop.received
                if check and (step % config.health_every_steps == 0 or last):
                    dog.doing(None)  # the first check compiles
                    self.log_scalars(step, check(state))
                if step % config.checkpoint_every_steps == 0 or last:
                    self.log_metrics(step, metrics, clock)
                    metrics = None
                    dog.doing(f"saving step {step} to {config.folder}")
                    self.save(state, step, last=last)
                clock.restart()
        if stop.received:
            self.log.console.print(f"The run was asked to stop; saved after step {step}.")
        return state

    def save(self, state: state_lib.TrainState, step: int, *, last: bool) -> None:
        """Saves a checkpoint; logs a failure of the previous save.

        Raises:
            UserError: the save failed, or the workdir no longer belongs to this run.
        """
        ownership.check(self.lock, step)
        position = {"next_step": step, "pairs_seen": step * self.sampler.global_batch_size}
        save = self.checkpoints.save_last if last else self.checkpoints.save
        failure = save(state, step, self.metadata | {"position": position})
        if failure is not None:
            # Messages of the system may contain brackets, which are not markup.
            message = f"{failure} The run continues and saves step {step}."
            self.log.console.print(message, markup=False)
        if last:  # the folder may have been moved while the last checkpoint was written
            ownership.check(self.lock, step)

    def log_scalars(self, step: int, values: dict[str, float]) -> None:
        """Appends a line of metrics, if the workdir still belongs to this run."""
        ownership.check(self.lock, step)
        self.log.scalars(step, values)

    def log_metrics(
        self, step: int, metrics: dict[str, jax.Array] | None, clock: logs.Clock
    ) -> None:
        """Logs the metrics of update number `step`.

        Raises:
            UserError: too many updates in a row were skipped.
        """
        if metrics is None:
            return
        config = self.trainer.config
        with clock.waiting("device"):
            values = {name: float(v) for name, v in jax.device_get(metrics).items()}
        if values["num_skipped_in_a_row"]:
            self.log_skipped(step, values)
        if step % config.log_every_steps == 0 or step == self.total_steps:
            values |= clock.rates(config.global_batch_size)
            values |= self.usage.measure(clock.step_seconds)
            self.log_scalars(step, values)
            self.log.progress(step, values)
            self.log.timeline(step, clock.busy_seconds)

    def log_skipped(self, step: int, values: dict[str, float]) -> None:
        """Writes the record ids of a step that was not finite to a file.

        Raises:
            UserError: too many steps in a row were not finite.
        """
        config, in_a_row = self.trainer.config, int(values["num_skipped_in_a_row"])
        path = config.folder / NONFINITE_FILE
        if jax.process_index() == 0:
            ids = pipeline.sampled_records(self.sampler, step - 1)
            with contextlib.closing(LineFile(path)) as lines:
                lines.append(json.dumps({"step": step, "record_ids": ids}))
        self.log.console.print(f"Step {step} skipped: its loss or gradient was not finite.")
        if in_a_row >= config.max_nonfinite_steps:
            raise UserError(
                f"The loss or gradient of {counted(in_a_row, 'step')} in a row, up to step "
                f"{step}, was not finite. Check the records listed in {path}, lower "
                "--learning-rate, or find the "
                "operation with --debug-nans."
            )


class RepresentationCheck:
    """Measures the quality of the representation on the same patients and views each time."""

    def __init__(self, loop: Loop):
        config, mesh = loop.trainer.config, loop.trainer.mesh
        sampler = _check_sampler(loop)
        batches = pipeline.make_batches(sampler, config, first_step=0)
        self._batch = mesh_lib.to_devices(next(batches), mesh)
        self._embed_step = step_lib.make_embed_step(loop.trainer, config.augment)
        self._constants = loop.constants
        self._split = sampler.sources[0].index.split
        self._risk = pipeline.sampled_risk(sampler, 0)

    def __call__(self, state: state_lib.TrainState) -> dict[str, float]:
        views = self._embed_step(state.params, self._batch, self._constants)
        view_a, view_b = jax.device_get(views)
        values = health.measure(np.asarray(view_a), np.asarray(view_b), self._risk)
        return {f"{self._split}/{name}": value for name, value in values.items()}


def _check_sampler(loop: Loop) -> training_data.Sampler:
    """Returns a sampler of one batch of validation patients.

    It samples training patients where fewer than `MIN_CHECK_PATIENTS` validation patients exist.
    A run on several data sets is checked on a mixture of them, also if each batch is from one.
    """
    config = dataclasses.replace(loop.trainer.config, batch_from="mixture")
    data = training_data.for_checks(loop.data, MIN_CHECK_PATIENTS)
    num_devices = loop.trainer.mesh.size
    stored_samples = loop.constants.stored_samples

    def make(batch_size: int) -> training_data.Sampler:
        return training_data.make_sampler(
            data, config, batch_size=batch_size, stored_samples=stored_samples
        )

    num_patients = make(1).largest_batch
    size = min(config.health_patients, num_patients) // num_devices * num_devices
    return make(max(size, num_devices))
