"""A page about one run: `python -m clef_jax.report --workdir=DIR [--out=FILE.html]`.

Loss curves, recordings before and after augmentation, and a map of the embeddings coloured by risk,
in one file that needs nothing else. It shows no identifier of any patient.
"""

import dataclasses
import html
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import rich.console
import tyro
from matplotlib.figure import Figure

from clef_jax import files, leads, mesh as mesh_lib
from clef_jax.config import TrainConfig, from_saved
from clef_jax.data import index as index_lib, pipeline
from clef_jax.errors import exit_on_user_error
from clef_jax.page import figure, template
from clef_jax.signal import adc
from clef_jax.signal.augment import AugmentConfig
from clef_jax.training import (
    checkpoint,
    logs,
    schedule,
    state as state_lib,
    step as step_lib,
    timeline,
)

EXAMPLES = 4
MAP_PATIENTS = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Writes a page about a training run: curves, example views, and a map of the embeddings."""

    workdir: str
    """Folder of the run."""
    out: str | None = None
    """The page to write; WORKDIR/report.html if not given."""
    data_dir: str | None = None
    """Where the prepared data is now, if it moved since the run."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = tyro.cli(Arguments, args=argv, prog="python -m clef_jax.report")
    with exit_on_user_error():
        path = write(arguments)
    rich.console.Console(highlight=False).print(f"The report is in {path}.", soft_wrap=True)


def write(arguments: Arguments) -> pathlib.Path:
    """Renders the page and returns where it is."""
    workdir = pathlib.Path(arguments.workdir).expanduser().resolve()
    run = checkpoint.read_run(workdir)
    config = from_saved(run["config"])
    config = dataclasses.replace(config, data_dir=arguments.data_dir or config.data_dir)
    view = View.open(config, workdir)
    lines = logs.read(workdir)
    sections = [
        Section(
            "How the loss fell",
            "The loss of the training batches and its parts; pale as measured, dark the mean of "
            "the last ten lines.",
            figure.curves(lines, loss_names(lines), smooth_lines=10),
        ),
        Section(
            "Is the representation healthy?",
            "The same patients and views each time. Alignment: distance of a patient's two views, "
            "lower is better. Uniformity: lower is more spread. Effective rank: 1 means "
            "collapse. Retrieval: how often the other view is nearest. Risk-distance correlation: "
            "do patients of unlike risk lie further apart?",
            figure.curves(lines, health_names(lines)),
        ),
        Section(
            "Recordings before and after augmentation",
            "Each row a patient: the samples as stored in one lead, the same filtered and "
            "z-scored, and the two views of one training step. The second view may be of another "
            "lead.",
            view.examples(),
        ),
        Section(
            "Patients in the space of the encoder, by risk",
            "Training patients on the two main axes of their unit-length embeddings.",
            view.embedding_map(),
        ),
    ]
    out = pathlib.Path(arguments.out) if arguments.out else workdir / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(out, page(config, run, lines, sections, timeline.summary(workdir)))
    return out


@dataclasses.dataclass(frozen=True)
class Section:
    """One figure of the page, with what to look for."""

    title: str
    caption: str
    figure: Figure


def loss_names(lines: list[dict]) -> list[str]:
    """The loss and the parts that this objective has."""
    return [n for n in ("loss", "nce", "alignment") if any(n in line for line in lines)]


def health_names(lines: list[dict]) -> list[str]:
    """The scalars of the looks at the representation, in the order they were written."""
    return [n for n in dict.fromkeys(n for line in lines for n in line) if "/" in n]


@dataclasses.dataclass(frozen=True)
class View:
    """A run's encoder and data, opened for looking at."""

    trainer: state_lib.Trainer
    params: Any
    constants: step_lib.Constants
    index: index_lib.Index

    @classmethod
    def open(cls, config: TrainConfig, workdir: pathlib.Path) -> "View":
        mesh = mesh_lib.make_mesh(jax.local_devices()[:1])
        index = index_lib.load(index_lib.find(config.data_dir, config.dataset), "train")
        rate = schedule.make(config, steps_per_epoch=1, total_steps=config.warmup_steps + 1)
        config = dataclasses.replace(config, num_microbatches=1)
        trainer = state_lib.make_trainer(config, rate, mesh, cohort=index.cohort_quantiles)
        params = checkpoint.restore_params(workdir, state_lib.abstract_state(trainer).params)
        constants = step_lib.make_constants(config, index.common_rate_hz, mesh)
        return cls(trainer, params, constants, index)

    def _first_batch(self, size: int) -> tuple[pipeline.BatchSampler, dict]:
        sampler = pipeline.make_sampler(self.index, self.trainer.config, batch_size=size)
        batches = pipeline.make_batches(sampler, self.trainer.config, first_step=0)
        return sampler, mesh_lib.to_devices(next(batches), self.trainer.mesh)

    def examples(self) -> Figure:
        """Some recordings as stored, filtered, and in two augmented views."""
        config = self.trainer.config
        _, batch = self._first_batch(min(EXAMPLES, self.index.num_patients))
        make = jax.jit(step_lib.make_views, static_argnums=(0, 4))
        step = np.zeros((), np.int32)
        plain = make(self.trainer, batch, self.constants, step, AugmentConfig.OFF)
        augmented = make(self.trainer, batch, self.constants, step, config.augment)
        stored_names = ("adc", "gain_per_mv", "baseline")
        samples, gain_per_mv, baseline = (np.asarray(batch[name])[:, 0] for name in stored_names)
        stored = adc.to_mv(samples, gain_per_mv, baseline, np.float64)
        views = {
            "filtered, z-scored": np.asarray(plain)[:, 0],
            "first view": np.asarray(augmented)[:, 0],
            "second view": np.asarray(augmented)[:, 1],
        }
        names = [leads.STANDARD_12[i] for i in np.asarray(batch["lead"])[:, 0]]
        return figure.before_and_after(stored, views, names, self.index.common_rate_hz)

    def embedding_map(self) -> Figure:
        """Up to `MAP_PATIENTS` training patients, one view each."""
        sampler, batch = self._first_batch(min(MAP_PATIENTS, self.index.num_patients))
        view_a, _ = step_lib.make_embed_step(self.trainer, AugmentConfig.OFF)(
            self.params, batch, self.constants
        )
        risk = self.index.risk[self.index.position(sampler.sample(0).row)]
        return figure.embedding_map(np.asarray(view_a, float), risk)


def page(
    config: TrainConfig,
    run: dict,
    lines: list[dict],
    sections: Sequence[Section],
    history: timeline.Summary | None = None,
) -> str:
    """The page's HTML, pictures inside."""
    trained = [line for line in lines if "loss" in line]
    facts = {
        "Encoder": f"{config.size}, {config.objective} objective",
        "Data": f"{config.dataset}, fingerprint {run['data']['data set'][:12]}",
        "Steps": f"{run['position']['next_step']:,} of {config.global_batch_size} patients",
    }
    if trained:
        last = trained[-1]
        losses = [line["loss"] for line in trained if line["loss"] is not None]
        first_loss, last_loss = np.mean(losses[:10]), np.mean(losses[-10:])
        facts["Loss"] = f"from {first_loss:.3f} to {last_loss:.3f}, means of ten lines"
        facts["Speed"] = (
            f"{last['pairs_per_second']:.0f} pairs/s; {logs.data_share(last):.0%} of a step is "
            "waiting for data"
        )
    if history is not None:
        facts["Time"] = str(history)
    settings = [(html.escape(k), html.escape(str(v))) for k, v in run["config"].items()]
    return template.document(
        "A pre-training run",
        template.facts(facts),
        *(
            template.section(one.title, one.caption, template.picture(one.figure, one.title))
            for one in sections
        ),
        template.folded("All settings", template.table(("setting", "value"), settings)),
    )


if __name__ == "__main__":
    main()
