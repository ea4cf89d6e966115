"""Makes the page about a training run: losses, example views, and a map of the embeddings by risk.

The page is one file with its charts inside. It shows no identifier of any patient.
"""

import dataclasses
import html
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from clef_jax import files, leads, mesh as mesh_lib
from clef_jax.config import TrainConfig, from_saved
from clef_jax.data import label as label_lib, pipeline, training_data
from clef_jax.errors import UserError, counted
from clef_jax.page import chart, figure, template
from clef_jax.signal import adc, reference
from clef_jax.signal.augment_config import AugmentConfig
from clef_jax.training import (
    logs,
    saved_run,
    schedule,
    state as state_lib,
    step as step_lib,
    timeline,
    verdict,
)
from clef_jax.training.log_names import health_names, loss_names

EXAMPLES = 4
"""Number of patients whose recordings are shown."""

MAP_PATIENTS = 512
"""Largest number of patients on the map."""


_TITLE = "Pre-training run"
_QUALITY = (
    "Measured on the same validation patients and views at each check; a single measurement is a "
    "point. Alignment: distance between a patient's two views; lower is better. Uniformity: lower "
    "values mean that the embeddings are spread more evenly. Effective rank: 1 means that all "
    "embeddings lie on one line (collapse). Retrieval: fraction of views whose nearest neighbour "
    "is the patient's other view. Risk-distance correlation: rank correlation between the "
    "distance of two patients and the difference of their risks."
)
"""Caption of the measures of the representation checks."""


def is_page(path: pathlib.Path) -> bool:
    """Returns whether a file is the page about a run."""
    return template.is_document(path, _TITLE)


def write(workdir: pathlib.Path, out: pathlib.Path, *, data_dir: str | None = None) -> None:
    """Writes the page about a run.

    Args:
        workdir: folder of the run.
        out: file to write.
        data_dir: folder of the prepared data; by default the one that the run read.

    Raises:
        UserError: the folder holds no run, or the data set is not found.
    """
    run = saved_run.read_run(workdir)
    config = from_saved(run["config"])
    config = dataclasses.replace(config, data_dir=data_dir or config.data_dir)
    if not pathlib.Path(config.data_dir).expanduser().is_dir():
        raise UserError(
            f"The folder {config.data_dir} of the run's prepared data does not exist; give the "
            "folder where the data is now with --data-dir.",
            problem="missing_folder",
        )
    view = View.open(config, workdir)
    lines = logs.read(workdir)
    sections = [
        Section(
            "Training loss",
            "The loss of the training batches and its parts. Pale lines are single values; dark "
            "lines are means of the last ten values.",
            chart.grid(*figure.curves({"run": lines}, loss_names(lines), smooth_lines=10)),
        ),
        Section(
            "Representation quality",
            _QUALITY if health_names(lines) else "Not measured; see --health-every-steps.",
            chart.grid(*figure.curves({"run": lines}, health_names(lines))),
        ),
        Section(
            "Recordings before and after augmentation",
            "Each row shows one patient: the stored samples of one lead, the same samples filtered "
            "and z-scored, and the two views of one training step. The second view may show "
            "another lead.",
            chart.grid(*view.examples()),
        ),
        Section(
            "Map of the embeddings, by risk",
            "Training patients on the first two principal components of their unit-length "
            "embeddings; the colour is the patient's risk.",
            chart.grid(view.embedding_map(), kind="three"),
        ),
    ]
    files.make_folder(out.parent)
    files.write_text(out, page(config, run, lines, sections, timeline.summary(workdir)))


def _check_risks(
    data: training_data.TrainingData, run: dict[str, Any], workdir: pathlib.Path
) -> None:
    """Raises UserError if the table of risks is not that of the run."""
    table = data.identity().get(training_data.TABLE)
    if table != run["data"].get(training_data.TABLE):
        raise UserError(
            f"The table of risks is not the one that {workdir} was trained with. Put that file "
            "back under its name.",
            problem="changed_run",
        )


@dataclasses.dataclass(frozen=True)
class Section:
    """Charts of the page, with a title and a caption that explains them."""

    title: str
    caption: str
    charts: str


@dataclasses.dataclass(frozen=True)
class View:
    """A run's encoder and data, opened for the figures."""

    trainer: state_lib.Trainer
    params: Any
    constants: step_lib.Constants
    data: training_data.TrainingData

    @classmethod
    def open(cls, config: TrainConfig, workdir: pathlib.Path) -> "View":
        mesh = mesh_lib.make_mesh(jax.local_devices()[:1])
        data = training_data.load(config)
        _check_risks(data, saved_run.read_run(workdir), workdir)
        rate = schedule.make(config, steps_per_epoch=1, total_steps=config.warmup_steps + 1)
        config = dataclasses.replace(config, num_microbatches=1, batch_from="mixture")
        trainer = state_lib.make_trainer(
            config,
            rate,
            mesh,
            cohort=data.cohort_quantiles,
            label_widths=label_lib.common_widths(data.indexes, config),
        )
        params = saved_run.restore_params(workdir, state_lib.abstract_state(trainer).params)
        stored_samples = data.stored_samples(config.window_seconds)
        constants = step_lib.make_constants(config, data.sample_rate_hz, mesh, stored_samples)
        return cls(trainer, params, constants, data)

    def _first_batch(self, most: int) -> tuple[training_data.Sampler, dict]:
        config = self.trainer.config
        largest = pipeline.make_sampler(self.data, config, batch_size=1).largest_batch
        sampler = pipeline.make_sampler(self.data, config, batch_size=min(most, largest))
        batches = pipeline.make_batches(sampler, self.trainer.config, first_step=0)
        return sampler, mesh_lib.to_devices(next(batches), self.trainer.mesh)

    def examples(self) -> list[str]:
        """Returns charts of recordings as stored, filtered, and in two augmented views."""
        config = self.trainer.config
        _, batch = self._first_batch(EXAMPLES)
        make = jax.jit(step_lib.make_views, static_argnums=(0, 4))
        step = np.zeros((), np.int32)
        plain = make(self.trainer, batch, self.constants, step, AugmentConfig.OFF)
        augmented = make(self.trainer, batch, self.constants, step, config.augment)
        stored_names = ("adc", "gain_per_mv", "baseline")
        samples, gain_per_mv, baseline = (np.asarray(batch[name])[:, 0] for name in stored_names)
        stored = adc.to_mv(samples, gain_per_mv, baseline, np.float64)
        if self.constants.stored_samples:
            stored = self._at_encoder_rate(stored, np.asarray(batch["stored_length"]))
        views = {
            "filtered, z-scored": np.asarray(plain)[:, 0],
            "first view": np.asarray(augmented)[:, 0],
            "second view": np.asarray(augmented)[:, 1],
        }
        names = [leads.STANDARD_12[i] for i in np.asarray(batch["lead"])[:, 0]]
        return figure.before_and_after(stored, views, names, self.data.sample_rate_hz)

    def _at_encoder_rate(self, stored_mv: np.ndarray, stored_length: np.ndarray) -> np.ndarray:
        """Returns stored signals, [P, T], of several lengths at the encoder's rate."""
        lengths, wanted = self.constants.stored_samples, self.constants.bandpass.num_samples
        signals = zip(stored_mv, stored_length, strict=True)
        filled = [reference.fill_gaps(signal[: lengths[number]]) for signal, number in signals]
        return np.stack([reference.resample_to_count(signal, wanted) for signal in filled])

    def embedding_map(self) -> str:
        """Returns a map of up to `MAP_PATIENTS` training patients, one view each."""
        sampler, batch = self._first_batch(MAP_PATIENTS)
        view_a, _ = step_lib.make_embed_step(self.trainer, AugmentConfig.OFF)(
            self.params, batch, self.constants
        )
        risk = pipeline.sampled_risk(sampler, 0)
        return figure.embedding_map(np.asarray(view_a, float), risk)


def page(
    config: TrainConfig,
    run: dict,
    lines: list[dict],
    sections: Sequence[Section],
    history: timeline.Summary | None = None,
) -> str:
    """Returns the page's HTML with its charts inside."""
    trained = [line for line in lines if "loss" in line]
    patients = counted(config.global_batch_size, "patient")
    fingerprints = [text[:12] for name, text in run["data"].items() if name != "noise"]
    facts = {
        "Encoder": f"{config.size}, {config.objective} objective",
        "Data": f"{config.dataset}, fingerprint {', '.join(fingerprints)}",
        "Steps": f"{run['position']['next_step']:,} of {patients} each",
    }
    if trained:
        last = trained[-1]
        losses = [line["loss"] for line in trained if line["loss"] is not None]
        facts["Loss"] = verdict.on_loss(losses) or "never finite"
        facts["Speed"] = (
            f"{last['pairs_per_second']:.0f} pairs/s; {logs.data_share(last):.0%} of a step's time "
            "is spent waiting for data"
        )
    if history is not None:
        facts["Time"] = str(history)
    settings = [(html.escape(k), html.escape(str(v))) for k, v in run["config"].items()]
    return template.document(
        _TITLE,
        template.description_list(facts),
        *(template.section(part.title, part.caption, part.charts) for part in sections),
        template.folded("All settings", template.table(("setting", "value"), settings), level=2),
    )
