"""Runs training in this process: applies the settings, joins the other processes, opens data and
state, and starts the steps of `training.loop`."""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import rich.console
from jax.sharding import Mesh

from clef_jax import folder_lock, machine, mesh as mesh_lib
from clef_jax.config import TrainConfig, saved
from clef_jax.convolution import tuning_file
from clef_jax.data import label as label_lib, pipeline, risk_table, training_data
from clef_jax.errors import counted
from clef_jax.signal import noise
from clef_jax.training import (
    checkpoint,
    coordinator,
    logs,
    ownership,
    saved_run,
    schedule,
    state as state_lib,
    step as step_lib,
    timeline,
)
from clef_jax.training.loop import Loop

Settle = Callable[[TrainConfig, Mesh, float, rich.console.Console], TrainConfig]
"""Maps settings, devices and the encoder's sampling rate to settings without `auto`."""


def without_choice(
    config: TrainConfig, mesh: Mesh, sample_rate_hz: float, console: rich.console.Console
) -> TrainConfig:
    """Returns the settings with nothing recomputed where they are `auto`."""
    del mesh, sample_rate_hz, console
    return dataclasses.replace(
        config, remat=bool(config.remat), num_microbatches=config.num_microbatches or 1
    )


def run(config: TrainConfig, settle: Settle = without_choice) -> state_lib.TrainState:
    """Trains from the first step, or the newest checkpoint, to the last step; returns the state.

    Args:
        config: settings of the run.
        settle: chooses the settings that are `auto`.
    """
    set_up_jax(config)
    if config.coordinator_address is None:
        return train(config, settle)
    from clef_jax.training import joining  # only runs of several processes need it

    with joining.joined(config):
        return train(config, settle)


def train(config: TrainConfig, settle: Settle = without_choice) -> state_lib.TrainState:
    """Runs this process's part of a training run, and returns the last state."""
    data = training_data.load(config)
    facts = {
        "config": saved(config),
        "sample_rate_hz": data.sample_rate_hz,
        "data": data.identity() | {"noise": noise.fingerprint(config.noise_path)},
        "datasets": data.describe(),
    }
    with ownership.owned(config.folder) as lock:
        # Before the first use of a device, which waits for the other processes.
        if coordinator.current().has_joined:
            from clef_jax.training import agreement

            agreement.agree(facts | {"saved_step": saved_run.newest_step(config.folder)}, config)
        return _train(config, data, facts, lock, settle)


def _train(
    config: TrainConfig,
    data: training_data.TrainingData,
    facts: dict[str, Any],
    lock: folder_lock.FolderLock | None,
    settle: Settle,
) -> state_lib.TrainState:
    """Opens the state and runs the steps; the workdir belongs to this run."""
    mesh = mesh_lib.make_mesh()
    console = rich.console.Console(highlight=False, quiet=jax.process_index() > 0)
    if config.is_automatic:
        config = settle(config, mesh, data.sample_rate_hz, console)
    mesh_lib.check_batch_size(config.global_batch_size, mesh, config.num_microbatches)
    sampler = pipeline.make_sampler(data, config)
    total_steps = config.total_steps(sampler.steps_per_epoch)
    rate = schedule.make(config, steps_per_epoch=sampler.steps_per_epoch, total_steps=total_steps)
    choices = tuning_file.load_for_run(config.conv_choices, mesh.devices.flat[0], config.folder)
    trainer = state_lib.make_trainer(
        config,
        rate,
        mesh,
        cohort=data.cohort_quantiles,
        label_widths=label_lib.common_widths(data.indexes, config),
        conv_choices=choices,
        num_steps=total_steps,
    )
    stored_samples = data.stored_samples(config.window_seconds)
    constants = step_lib.make_constants(config, data.sample_rate_hz, mesh, stored_samples)
    with checkpoint.Checkpoints(config.folder, keep=config.keep_checkpoints) as checkpoints:
        restored = saved_state(trainer, checkpoints, facts)
        state = trainer.init() if restored is None else restored.state
        step = int(state.step)
        with logs.Log(config.folder, step=step, total_steps=total_steps) as log:
            log_settings(log, trainer, sampler, step, total_steps)
            log_data(log, data, sampler)
            if restored is not None:
                move_damaged(log, checkpoints, restored.damaged)
            loop = Loop(
                trainer, data, sampler, constants, checkpoints, log, facts, total_steps, lock
            )
            state = loop.run(state)
            log_goodput(log, config)
            return state


def set_up_jax(config: TrainConfig) -> None:
    """Applies the settings that must precede JAX's first use."""
    machine.keep_freed_memory()
    if config.deterministic:
        machine.request_deterministic_kernels()
    jax.config.update("jax_debug_nans", config.debug_nans)
    if config.compilation_cache_dir is not None:
        folder = pathlib.Path(config.compilation_cache_dir).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(folder))


def saved_state(
    trainer: state_lib.Trainer, checkpoints: checkpoint.Checkpoints, facts: dict[str, Any]
) -> checkpoint.Restored | None:
    """Returns the newest checkpoint of an earlier start of this run; None if the run is new.

    Raises:
        UserError: the earlier start had other settings or data.
    """

    def check(run: dict[str, Any]) -> None:
        saved_run.refuse_changes(run, facts, trainer.config.folder)

    return checkpoints.restore_newest(state_lib.abstract_state(trainer), check)


def move_damaged(
    log: logs.Log, checkpoints: checkpoint.Checkpoints, damaged: dict[int, str]
) -> None:
    """Moves damaged checkpoints to another folder, and logs its path."""
    if not damaged:
        return
    folder = checkpoints.quarantine(list(damaged))
    for step, reason in damaged.items():
        log.console.print(
            f"The checkpoint of step {step} is damaged: {reason} It was moved to {folder}.",
            soft_wrap=True,
            markup=False,
        )


def log_settings(
    log: logs.Log,
    trainer: state_lib.Trainer,
    sampler: training_data.Sampler,
    step: int,
    total_steps: int,
) -> None:
    """Logs the settings, and the numbers of patients, steps and devices that follow from them."""
    config, mesh = trainer.config, trainer.mesh
    log.console.print_json(json.dumps(saved(config)))
    excluded = sampler.num_excluded
    note = f" ({counted(excluded, 'short or flat record')} excluded)" if excluded else ""
    log.console.print(
        f"{counted(sampler.num_patients, 'patient')}{note}, "
        f"{counted(sampler.steps_per_epoch, 'step')} per epoch, {counted(total_steps, 'step')} in "
        f"total, on {mesh.size} x "
        f"{mesh.devices.flat[0].device_kind} with {machine.compute_dtype(config.precision).name} "
        "activations.",
        soft_wrap=True,
    )
    if step:
        log.console.print(
            f"Resuming after step {step} from {config.folder}.", soft_wrap=True, markup=False
        )


def log_data(
    log: logs.Log, data: training_data.TrainingData, sampler: training_data.Sampler
) -> None:
    """Logs what the run uses of each data set, unless it uses one as it is."""
    if not data.is_mixed and not sampler.stored_samples and data.risk_table is None:
        return
    for sentence in () if data.risk_table is None else data.risk_table.notes:
        log.console.print(sentence, soft_wrap=True, markup=False)
    for source, about in zip(sampler.sources, data.describe(), strict=True):
        rate_hz = about["sample_rate_hz"]
        is_resampled = rate_hz != data.sample_rate_hz
        resampled = f", resampled to {data.sample_rate_hz:g} Hz" if is_resampled else ""
        score = f" by {about['score']}" if about["score"] else ""
        log.console.print(
            f"{about['name']}: {about['weight']:.1%} of the patients drawn, of "
            f"{counted(source.num_patients, 'patient')}; leads {', '.join(source.lead_names)}; "
            f"{rate_hz:g} Hz{resampled}; risk{score} known of {about['known_risk']:.0%} of the "
            f"recordings{_rows(data, about)}.",
            soft_wrap=True,
            markup=False,
        )


def _rows(data: training_data.TrainingData, about: dict[str, Any]) -> str:
    """Returns how many rows of a table of risks name a recording, as part of a sentence."""
    if data.risk_table is None:
        return ""
    rows = counted(len(data.risk_table.values), "row")
    return f", which {about['settings'][risk_table.ROWS]:,} of {rows} of the table name"


def log_goodput(log: logs.Log, config: TrainConfig) -> None:
    """Logs the fraction of the run's time that was spent on steps that were kept."""
    history = timeline.summary(config.folder)
    if history is not None:
        log.console.print(str(history), soft_wrap=True)
