"""Keeps fine-tuned encoders as model folders, which `clef_jax.load` reads."""

import dataclasses
import pathlib
import re
import shutil

import numpy as np

from clef_jax.embedding import folder as model_folder
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.head import Head
from clef_jax.evaluation.finetune import FineTuned


class Keeper:
    """Writes each fine-tuned encoder with its head to a folder MODEL/NUMBER; a task that is
    cross-validated has more than one."""

    def __init__(self, embedder: Embedder, folder: pathlib.Path, names: tuple[str, ...]):
        """`names`: of the outputs of the task."""
        self._embedder, self._folder, self._names, self._count = embedder, folder, names, 0

    def __call__(self, tuned: FineTuned) -> None:
        """Writes the next model folder."""
        self._count += 1
        name = re.sub(r"[^\w.-]+", "_", self._embedder.name)
        workdir = self._folder / name / str(self._count)
        shutil.rmtree(workdir, ignore_errors=True)
        run = model_folder.told_of_run(self._embedder.run)
        run |= {"fine_tuned_epochs": tuned.num_epochs, "validation_loss": tuned.validation_loss}
        model = dataclasses.replace(self._embedder, params=tuned.params.encoder, run={"model": run})
        head = Head(
            weight=np.asarray(tuned.params.weight).T,
            bias=np.asarray(tuned.params.bias),
            names=self._names,
            layer=list(model.layers)[-1],
            kind=tuned.kind,
            centre=np.asarray(tuned.centre),
            scale=np.asarray(tuned.scale),
        )
        model_folder.save(model, workdir, head=head)
