"""Pre-trains an encoder: `python -m clef_jax.train --data-dir=DIR --workdir=DIR --size=small`.

The functions stand in the order of a run: settings, processes, data, state. The steps are in
`training.loop`.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from clef_jax import machine, mesh as mesh_lib
from clef_jax.config import TrainConfig, saved
from clef_jax.convolution import tuning_file
from clef_jax.data import index as index_lib, label as label_lib, pipeline
from clef_jax.errors import exit_on_user_error
from clef_jax.machine import keep_freed_memory
from clef_jax.signal import noise
from clef_jax.training import (
    arguments,
    checkpoint,
    coordinator,
    logs,
    schedule,
    state as state_lib,
    step as step_lib,
    timeline,
)
from clef_jax.training.loop import Loop


def main(argv: Sequence[str] | None = None) -> None:
    with exit_on_user_error():
        run(arguments.parse(argv))


def run(config: TrainConfig) -> state_lib.TrainState:
    """Runs training from the first step, or from the newest checkpoint, to the last step."""
    set_up_jax(config)
    if config.coordinator_address is None:
        return train(config)
    from clef_jax.training import joining  # only runs of several processes need it

    with joining.joined(config):
        return train(config)


def train(config: TrainConfig) -> state_lib.TrainState:
    """Runs this process's part of a training run."""
    index = index_lib.load(index_lib.find(config.data_dir, config.dataset), "train")
    facts = {
        "config": saved(config),
        "sample_rate_hz": index.common_rate_hz,
        "data": {"data set": index.fingerprint, "noise": noise.fingerprint(config.noise_path)},
    }
    # Before the first use of a device, which waits for the other processes.
    if coordinator.current().has_joined:
        from clef_jax.training import agreement

        agreement.agree(facts | {"saved_step": checkpoint.newest_step(config.folder)}, config)
    if jax.default_backend() == "cpu":
        keep_freed_memory()
    mesh = mesh_lib.make_mesh()
    mesh_lib.check_batch_size(config.global_batch_size, mesh, config.num_microbatches)
    sampler = pipeline.make_sampler(index, config)
    total_steps = config.total_steps(sampler.steps_per_epoch)
    rate = schedule.make(config, steps_per_epoch=sampler.steps_per_epoch, total_steps=total_steps)
    choices = tuning_file.of_run(config.conv_choices, mesh.devices.flat[0], config.folder)
    labels = label_lib.find(index, config.label_names)
    trainer = state_lib.make_trainer(
        config,
        rate,
        mesh,
        cohort=index.cohort_quantiles,
        label_widths={label["name"]: label_lib.width(label) for label in labels},
        conv_choices=choices,
    )
    constants = step_lib.make_constants(config, index.common_rate_hz, mesh)
    with checkpoint.Checkpoints(config.folder, keep=config.keep_checkpoints) as checkpoints:
        restored = saved_state(trainer, checkpoints, facts)
        state = trainer.init() if restored is None else restored.state
        step = int(state.step)
        with logs.Log(config.folder, step=step, total_steps=total_steps) as log:
            log_settings(log, trainer, sampler, step, total_steps)
            if restored is not None:
                move_damaged(log, checkpoints, restored.damaged)
            loop = Loop(trainer, sampler, constants, checkpoints, log, facts, total_steps)
            state = loop.run(state)
            log_goodput(log, config)
            return state


def set_up_jax(config: TrainConfig) -> None:
    """Applies the settings that JAX needs before its first use."""
    jax.config.update("jax_debug_nans", config.debug_nans)
    if config.compilation_cache_dir is not None:
        folder = pathlib.Path(config.compilation_cache_dir).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(folder))


def saved_state(
    trainer: state_lib.Trainer, checkpoints: checkpoint.Checkpoints, facts: dict[str, Any]
) -> checkpoint.Restored | None:
    """Returns the newest checkpoint of a run that was started before with the same settings and
    data; None where the run is new."""

    def check(run: dict[str, Any]) -> None:
        checkpoint.refuse_changes(run, facts, trainer.config.folder)

    return checkpoints.restore_newest(state_lib.abstract_state(trainer), check)


def move_damaged(
    log: logs.Log, checkpoints: checkpoint.Checkpoints, damaged: dict[int, str]
) -> None:
    """Moves damaged checkpoints out of the way, and logs where they are."""
    if not damaged:
        return
    folder = checkpoints.set_aside(list(damaged))
    for step, reason in damaged.items():
        log.console.print(
            f"The checkpoint of step {step} is damaged: {reason} It is in {folder} now.",
            soft_wrap=True,
            markup=False,
        )


def log_settings(
    log: logs.Log,
    trainer: state_lib.Trainer,
    sampler: pipeline.BatchSampler,
    step: int,
    total_steps: int,
) -> None:
    """Logs the settings, and what follows from them on this machine and data."""
    config, mesh = trainer.config, trainer.mesh
    log.console.print_json(json.dumps(saved(config)))
    excluded = sampler.num_left_out
    note = f" ({excluded} records are short or flat)" if excluded else ""
    log.console.print(
        f"{sampler.num_patients} patients{note}, {sampler.steps_per_epoch} steps an epoch, "
        f"{total_steps} steps in all, on {mesh.size} x {mesh.devices.flat[0].device_kind} with "
        f"{machine.compute_dtype(config.precision).name} activations.",
        soft_wrap=True,
    )
    if step:
        log.console.print(
            f"Resuming after step {step} from {config.folder}.", soft_wrap=True, markup=False
        )


def log_goodput(log: logs.Log, config: TrainConfig) -> None:
    """Logs how much of the run's time went into steps that were kept."""
    history = timeline.summary(config.folder)
    if history is not None:
        log.console.print(str(history), soft_wrap=True)


if __name__ == "__main__":
    main()
