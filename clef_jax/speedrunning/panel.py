"""The fixed panel of tasks of a scored run, and which of its patients are kept for the test.

PTB-XL is tested on whole folds. Other data sets are tested on their test split if it is large, and
otherwise by cross-validation of all patients; such a data set is never pre-trained on.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from clef_jax import dataset_list, tasks
from clef_jax.data import index as index_lib, metadata as metadata_lib
from clef_jax.errors import UserError
from clef_jax.evaluation.prediction import HoldOut
from clef_jax.tasks import Task

LEAD = "I"
SCORED = ("ptb_xl_superdiagnostic", "ptb_xl_af", "ptb_xl_sex", "chapman_diagnoses", "cinc2017_af")
"""Tasks whose mean is the score, at all labels."""
BESIDE = "ptb_xl_age"
"""Task whose error stands beside the score."""
FOLD = "strat_fold"
"""Label of PTB-XL with the official fold."""
_FOLDED = "ptb_xl"
MIN_TEST_PATIENTS = 100
"""Fewest patients of a test split; a smaller data set is cross-validated."""


@dataclasses.dataclass(frozen=True)
class PanelTask:
    """A task of the panel, and how it is tested."""

    task: Task
    folder: pathlib.Path
    """Folder of the prepared data set."""
    hold_out: HoldOut | None
    """Folds that are tested; None for the test split or a cross-validation."""
    cross_validate: bool
    """Whether all patients of the data set are tested by cross-validation."""

    @property
    def tested(self) -> str:
        """States which patients are tested."""
        if self.cross_validate:
            return "all patients, cross-validated"
        if self.hold_out is None:
            return "test split"
        folds = ", ".join(f"{value:g}" for value in self.hold_out.values)
        return f"{FOLD} {folds}"


@dataclasses.dataclass(frozen=True)
class Panel:
    """The tasks of a scored run on the data sets that are prepared."""

    tasks: tuple[PanelTask, ...]
    fingerprints: dict[str, str]
    """Fingerprint of each data set, by its name."""

    @property
    def scored(self) -> tuple[PanelTask, ...]:
        """The tasks whose mean is the score."""
        return tuple(part for part in self.tasks if part.task.name in SCORED)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the tasks of the score whose data set is not prepared."""
        return tuple(name for name in SCORED if name not in {p.task.name for p in self.tasks})

    @property
    def digest(self) -> str:
        """Identifier of tasks, test patients and data; equal for rows that can be compared."""
        parts = [(part.task.name, part.tested) for part in self.tasks]
        text = json.dumps([parts, sorted(self.fingerprints.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def trains_on(self, dataset: str) -> bool:
        """Returns whether pre-training may use a data set: not if all its patients are tested."""
        name = dataset_list.base_name(dataset)
        return not any(p.cross_validate for p in self.tasks if p.task.dataset == name)

    def to_json(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "tested": {part.task.name: part.tested for part in self.tasks},
            "missing": list(self.missing),
            "data": self.fingerprints,
        }


def make(data_dir: str | pathlib.Path, test_folds: Sequence[int]) -> Panel:
    """Returns the panel on the data sets that are prepared in a folder.

    Raises:
        UserError: no data set of the panel is prepared, or PTB-XL has no recording of the test
            folds.
    """
    parts: list[PanelTask] = []
    fingerprints: dict[str, str] = {}
    for name in (*SCORED, BESIDE):
        task = tasks.find(name)
        try:
            folder = index_lib.find(data_dir, task.dataset)
        except UserError as error:
            if error.problem not in ("not_prepared", "half_built"):
                raise
            continue
        if task.dataset == _FOLDED:
            hold_out, pooled = HoldOut(label=FOLD, values=tuple(map(float, test_folds))), False
        else:
            hold_out, pooled = None, _num_test_patients(folder) < MIN_TEST_PATIENTS
        task = dataclasses.replace(task, lead=LEAD)
        parts.append(PanelTask(task, folder, hold_out, pooled))
        fingerprints[task.dataset] = index_lib.read_metadata(folder)["fingerprint"]
    panel = Panel(tuple(parts), fingerprints)
    if not panel.scored:
        raise UserError(
            f"No data set of the panel is prepared in {data_dir}. Prepare ptb_xl, and chapman and "
            "cinc2017 if you have them.",
            problem="no_tasks",
        )
    return panel


def _num_test_patients(folder: pathlib.Path) -> int:
    if index_lib.TEST not in index_lib.splits(folder):
        return 0
    return index_lib.load(folder, index_lib.TEST).num_patients


def check_folds(panel: Panel, cache_dir: pathlib.Path) -> None:
    """Raises UserError if PTB-XL has no recording of a test fold; reads all its metadata once."""
    for part in panel.tasks:
        if part.hold_out is None:
            continue
        records = [
            record
            for split in index_lib.splits(part.folder)
            for record in metadata_lib.load(index_lib.load(part.folder, split), cache_dir)
        ]
        held = np.array([record.get(part.hold_out.label, np.nan) for record in records], float)
        for fold in part.hold_out.values:
            if not (held == fold).any():
                raise UserError(
                    f"{part.folder} has no recording of fold {fold:g}. Set --test-folds to folds "
                    "that it has.",
                    problem="missing_fold",
                )
        return
