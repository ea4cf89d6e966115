"""Pre-trains the encoder of a scored run without the test patients, within its minutes."""

import contextlib
import dataclasses
import io
import itertools
import json
import pathlib
import shutil
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import jax
import rich.console

from clef_jax import files, objectives, plugin
from clef_jax.config import TrainConfig, from_saved, saved
from clef_jax.errors import UserError, counted
from clef_jax.line_file import LineFile
from clef_jax.planning import automatic
from clef_jax.speedrunning import budget, plan_file, scored_model, settings, training_data
from clef_jax.speedrunning.budget import Choice, Speed
from clef_jax.speedrunning.panel import Panel
from clef_jax.speedrunning.scored_model import Entry
from clef_jax.training import arguments, logs, run as training_run, saved_run, timeline

RUN_FOLDER = "run"
_STARTS_FILE = "starts.jsonl"
_MEASURED_STEPS = {"cpu": 6}
_MEASURED_STEPS_ELSEWHERE = 60
"""Steps of a measurement; the first one, which compiles, is not timed."""
_VIEWS = {
    "other": {"window_start": "random", "window_seconds": 5.0},
    "same": {"window_start": "record_start", "window_seconds": 10.0, "learning_rate": 1e-4},
}
_QUIET = {"health_every_steps": 0, "keep_checkpoints": 1}


def run(config: settings.Config, panel: Panel, console: rich.console.Console) -> Entry:
    """Pre-trains, unless that was done, and scores the encoder.

    Raises:
        UserError: the data, the minutes or the settings cannot be used, or the run was stopped.
    """
    plan = plan_file.read(config)
    if plan:
        plan_file.refuse_changes(config, plan)
        trained = restored(plan["settings"], config)
    else:
        trained, choice = make_config(config, panel, console)
        speed = None if choice.speed is None else dataclasses.asdict(choice.speed)
        plan = plan_file.write(config, to_row(trained), speed)
    minutes = train(trained, console)
    scores, fingerprint = scored_model.score_path(str(trained.folder), panel, config, console)
    facts = {
        "kind": "trained",
        "fingerprint": fingerprint,
        "settings": plan["settings"],
        "measured": plan["measured"],
        **training_data.facts(trained),
    }
    return Entry(plan["token"], facts, scores, minutes)


def make_config(
    config: settings.Config, panel: Panel, console: rich.console.Console
) -> tuple[TrainConfig, Choice]:
    """Returns the settings of the pre-training, and what was chosen by the minutes.

    Raises:
        WrongArgument: a setting of training is wrong.
        UserError: there is no public data set to train on, or the minutes do not suffice.
    """
    own = _own_fields(config)
    first = _parse(config, own, {})
    data = training_data.choose(config, panel, first)
    fixed = {"dataset": data.dataset}
    fixed |= {} if data.exclude is None else {"exclude": data.exclude}
    size = None if config.size == settings.AUTO else config.size
    batch = first.global_batch_size if "global_batch_size" in own else None
    if config.num_steps is None:

        def measure(size: str, batch: int) -> Speed:
            choice = Choice(size, batch, 1000, None)
            speed = _measure(_parse(config, own, fixed | budget.derived(choice)))
            console.print(
                f"Measured {size}, {batch} patients per step: {speed.step_seconds:.3g} s per step, "
                f"{speed.start_seconds:.0f} s to start and save.",
                soft_wrap=True,
            )
            return speed

        choice = budget.choose(
            config.minutes,
            measure,
            num_patients=data.num_patients,
            num_devices=jax.device_count(),
            size=size,
            batch=batch,
        )
    else:
        batch = batch or budget.first_batch(data.num_patients, jax.device_count())
        choice = Choice(size or budget.SIZES[0], batch, config.num_steps, None)
    return _parse(config, own, fixed | budget.derived(choice)), choice


def _own_fields(config: settings.Config) -> set[str]:
    """Returns the fields of training that the preset or --train sets."""
    preset = objectives.preset(config.objective, config.preset)
    names = {text.partition("=")[0] for text in config.train_flags if text.startswith("--")}
    return {name.removeprefix("--").replace("-", "_") for name in names} | set(preset.training)


def _parse(config: settings.Config, own: set[str], derived: Mapping[str, Any]) -> TrainConfig:
    """Returns the settings of training: views and rule, except where preset or --train decide."""
    values = {**_VIEWS[config.views], **_QUIET}
    # The rate of the views is the paper's, whatever the rule says.
    values |= {k: v for k, v in derived.items() if k != "learning_rate" or k not in values}
    flags = [
        f"--{k.replace('_', '-')}={v}" for k, v in values.items() if k not in own or k in _ALWAYS
    ]
    return arguments.parse(
        [
            f"--data-dir={config.data_dir}",
            f"--workdir={config.folder / RUN_FOLDER}",
            f"--objective={config.objective}",
            f"--preset={config.preset}",
            f"--seed={config.seed}",
            *flags,
            *config.train_flags,
        ]
    )


_ALWAYS = frozenset({"dataset", "exclude", "num_steps", "size"})
"""Fields that no preset may decide: what is trained on, and for how long."""


def _measure(config: TrainConfig) -> Speed:
    """Returns the speed of some steps of a training, from a run in a temporary folder."""
    num = _MEASURED_STEPS.get(jax.default_backend(), _MEASURED_STEPS_ELSEWHERE)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="clef_jax_speed_"))
    short = dataclasses.replace(
        config, workdir=str(folder), num_steps=num, warmup_steps=0, log_every_steps=num
    )
    try:
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            state = training_run.run(short, automatic.settle)
        seconds = time.perf_counter() - start
        if int(state.step) < num:
            raise UserError("The run was stopped while its speed was measured.", problem="stopped")
        rate = logs.read(folder)[-1]["pairs_per_second"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    step_seconds = config.global_batch_size / rate
    return Speed(max(0.0, seconds - num * step_seconds), step_seconds)


def train(config: TrainConfig, console: rich.console.Console) -> float:
    """Trains to the last step, from the newest checkpoint if there is one; returns the minutes.

    The minutes are those of all starts, reading, compiling and saving included.

    Raises:
        UserError: the run was asked to stop before its last step.
    """
    files.make_folder(config.folder)
    wanted = config.num_steps or 0
    last = saved_run.newest_step(config.folder) or 0
    if last < wanted:
        with contextlib.closing(LineFile(config.folder / _STARTS_FILE)) as starts:
            starts.append(json.dumps({"event": "start", "unix_seconds": time.time()}))
            last = int(training_run.run(config, automatic.settle).step)
            starts.append(json.dumps({"event": "end", "unix_seconds": time.time()}))
    if last < wanted:
        raise UserError(
            f"The run was stopped after {counted(last, 'step')}; the same command resumes it.",
            problem="stopped",
        )
    minutes = _minutes(config.folder)
    console.print(f"Pre-trained in {minutes:.2f} minutes.")
    return minutes


def _minutes(workdir: pathlib.Path) -> float:
    """Returns the minutes of all starts; one that was killed ends with its last logged step."""
    starts = files.read_json_lines(workdir / _STARTS_FILE)
    steps = files.read_json_lines(workdir / timeline.TIMELINE_FILE)
    events = sorted((*starts, *steps), key=lambda event: event["unix_seconds"])
    begins = [n for n, event in enumerate(events) if event in starts and event["event"] == "start"]
    sessions = [events[a:b] for a, b in itertools.pairwise([*begins, len(events)])]
    seconds = sum(session[-1]["unix_seconds"] - session[0]["unix_seconds"] for session in sessions)
    return seconds / 60


def to_row(config: TrainConfig) -> dict[str, Any]:
    """Returns the settings for a row: those that may differ between machines, with paths, are
    left out."""
    values = saved(config)
    return {name: v for name, v in values.items() if name not in TrainConfig.PER_PROCESS}


def restored(values: Mapping[str, Any], config: settings.Config) -> TrainConfig:
    """Returns the settings of training from those of a row.

    Raises:
        UserError: this version does not know them.
    """
    folders = {"data_dir": config.data_dir, "workdir": str(config.folder / RUN_FOLDER)}
    objective = values.get("objective", "")
    if objective not in objectives.names():
        raise UserError(plugin.unknown("objective", objective, objectives.names()))
    try:
        return from_saved({**values, **folders})
    except (TypeError, KeyError) as error:
        raise UserError(
            f"The settings of the row cannot be used by this version: {error}. Use the version "
            "that the row states.",
            problem="other_version",
        ) from error
