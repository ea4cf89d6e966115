"""Saves fine-tuned encoders as model folders, which `clef_jax.load` reads."""

import dataclasses
import pathlib
import re

from clef_jax.embedding import folder as model_folder, foreign_folder
from clef_jax.embedding.head import Head
from clef_jax.embedding.trainable import Trainable
from clef_jax.evaluation.finetune import FineTuned


class Keeper:
    """Writes each fine-tuned encoder with its head to a folder MODEL/NUMBER.

    Cross-validation fine-tunes one encoder per fold.
    """

    def __init__(self, embedder: Trainable, folder: pathlib.Path, names: tuple[str, ...]):
        """Describes where to write.

        Args:
            embedder: Encoder before fine-tuning.
            folder: Folder of the task.
            names: Names of the task's outputs.
        """
        self._embedder, self._folder, self._names, self._count = embedder, folder, names, 0

    def __call__(self, tuned: FineTuned) -> None:
        """Writes the next model folder."""
        self._count += 1
        name = re.sub(r"[^\w.-]+", "_", self._embedder.name)
        workdir = self._folder / name / str(self._count)
        model = model_of(self._embedder, tuned)
        head = Head(
            **tuned.head_arrays(),
            names=self._names,
            layer=list(model.layers)[-1],
            kind=tuned.kind,
            threshold=tuned.threshold if tuned.kind in ("binary", "multilabel") else None,
        )
        foreign_folder.save_any(model, workdir, head=head)


def model_of(embedder: Trainable, tuned: FineTuned) -> Trainable:
    """Returns a fine-tuned encoder, whose metadata say how it was trained.

    Args:
        embedder: encoder before fine-tuning.
        tuned: result of fine-tuning.
    """
    run = model_folder.describe_run(embedder.run)
    run |= {"fine_tuned_epochs": tuned.num_epochs, "validation_loss": tuned.validation_loss}
    run["learning_rates"] = {name: float(rate) for name, rate in tuned.rates._asdict().items()}
    return dataclasses.replace(embedder, params=tuned.params.encoder, run={"model": run})
