"""Runs the steps of a training run: read, update, log, check the representation, save, stop."""

import dataclasses
import json
import signal as signals
import threading
from typing import Any

import jax
import numpy as np

from clef_jax import mesh as mesh_lib
from clef_jax.data import index as index_lib, pipeline, raw
from clef_jax.errors import UserError
from clef_jax.training import (
    checkpoint,
    health,
    logs,
    state as state_lib,
    step as step_lib,
    tracing,
    usage,
    watchdog,
)

NONFINITE_FILE = "nonfinite_steps.jsonl"

MIN_CHECK_PATIENTS = 32
"""Patients of a representation check; ranks and correlations over fewer are unstable."""


class StopSignal:
    """Records SIGTERM, so that the loop can stop after the current step.

    With several processes JAX handles the signal, and lets all of them stop at the same step.
    """

    received = False

    def __enter__(self) -> "StopSignal":
        in_main = threading.current_thread() is threading.main_thread()
        # Python delivers signals to the main thread only.
        self._listens = in_main and jax.process_count() == 1
        if self._listens:
            self._before = signals.signal(signals.SIGTERM, self._receive)
        return self

    def __exit__(self, *_) -> None:
        if self._listens:
            signals.signal(signals.SIGTERM, self._before)

    def _receive(self, *_) -> None:
        self.received = True


@dataclasses.dataclass
class Loop:
    """Runs the steps from a state to the end of the run."""

    trainer: state_lib.Trainer
    sampler: pipeline.BatchSampler
    constants: step_lib.Constants
    checkpoints: checkpoint.Checkpoints
    log: logs.Log
    facts: dict[str, Any]
    total_steps: int

    def __post_init__(self):
        num_samples = self.constants.bandpass.num_samples
        self.usage = usage.Usage(self.trainer, num_samples)

    def run(self, state: state_lib.TrainState) -> state_lib.TrainState:
        """Returns the state after the last step, or after the step at which it was stopped."""
        config, clock, step = self.trainer.config, logs.Clock(), int(state.step)
        train_step = step_lib.make_train_step(self.trainer)
        batches = pipeline.make_batches(self.sampler, config, first_step=step)
        check = RepresentationCheck(self) if config.health_every_steps else None
        metrics, stop = None, StopSignal()
        dog = watchdog.Watchdog(config.stall_timeout_seconds, config.folder)
        trace = tracing.Trace(config.profile_steps, config.folder)
        compiling = True
        with stop, dog, trace:
            while step < self.total_steps and not stop.received:
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
                    self.log.scalars(step, check(state))
                if step % config.checkpoint_every_steps == 0 or last:
                    self.log_metrics(step, metrics, clock)
                    metrics = None
                    dog.doing(f"saving step {step} to {config.folder}")
                    self.save(state, step, last=last)
                clock.restart()
        if stop.received:
            self.log.console.print(f"Asked to stop; saved after step {step}.")
        return state

    def save(self, state: state_lib.TrainState, step: int, *, last: bool) -> None:
        """Saves a checkpoint; a failure is logged, and the next save tries again."""
        position = {"next_step": step, "pairs_seen": step * self.sampler.global_batch_size}
        save = self.checkpoints.save_last if last else self.checkpoints.save
        trouble = save(state, step, self.facts | {"position": position})
        if trouble is not None:
            # Messages of the system hold brackets, which are no markup.
            words = f"{trouble} The run goes on and saves step {step}."
            self.log.console.print(words, markup=False)

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
            self.log.scalars(step, values)
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
            rows = self.sampler.sample(step - 1).row
            ids = raw.Reader(self.sampler.index).texts(rows, "record_id")
            with path.open("a") as file:
                file.write(json.dumps({"step": step, "record_ids": ids}) + "\n")
        self.log.console.print(f"Step {step} skipped: its loss or gradient was not finite.")
        if in_a_row >= config.max_nonfinite_steps:
            raise UserError(
                f"{in_a_row} steps in a row were not finite, the last of them step {step}. Their "
                f"record ids are in {path}. Look at those records, lower --learning-rate, or find "
                "the operation with --debug-nans."
            )


class RepresentationCheck:
    """Measures the representation of the same patients and views at every call."""

    def __init__(self, loop: Loop):
        config, mesh = loop.trainer.config, loop.trainer.mesh
        sampler = _check_sampler(loop)
        batches = pipeline.make_batches(sampler, config, first_step=0)
        self._batch = mesh_lib.to_devices(next(batches), mesh)
        self._embed_step = step_lib.make_embed_step(loop.trainer, config.augment)
        self._constants = loop.constants
        index = sampler.index
        self._split = index.split
        self._risk = index.risk[index.position(sampler.sample(0).row)]

    def __call__(self, state: state_lib.TrainState) -> dict[str, float]:
        views = self._embed_step(state.params, self._batch, self._constants)
        view_a, view_b = jax.device_get(views)
        values = health.measure(np.asarray(view_a), np.asarray(view_b), self._risk)
        return {f"{self._split}/{name}": value for name, value in values.items()}


def _check_sampler(loop: Loop) -> pipeline.BatchSampler:
    """Returns a sampler of one batch of validation patients, or of training patients where there
    are too few of those."""
    config, index = loop.trainer.config, loop.sampler.index
    if "validation" in index_lib.splits(index.version_dir):
        validation = index_lib.load(index.version_dir, "validation")
        if validation.num_patients >= MIN_CHECK_PATIENTS:
            index = validation
    num_patients = pipeline.make_sampler(index, config, batch_size=1).num_patients
    num_devices = loop.trainer.mesh.size
    size = min(config.health_patients, num_patients) // num_devices * num_devices
    return pipeline.make_sampler(index, config, batch_size=max(size, num_devices))
