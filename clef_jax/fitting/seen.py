"""Labelled recordings that the encoder saw in its own training, where that can be known.

It can be known of prepared data sets, whose names and splits the training run states.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from clef_jax import dataset_list
from clef_jax.csv_file import Note
from clef_jax.data import index as index_lib
from clef_jax.data.index import TRAIN
from clef_jax.embedding import folder as model_folder
from clef_jax.errors import UserError, counted
from clef_jax.fitting.matching import Assigned


def notes(
    run: Mapping[str, Any] | None, top: pathlib.Path | None, rows: Sequence[Assigned]
) -> list[Note]:
    """Returns a note if labelled recordings are of the data that the encoder was trained on.

    Args:
        run: metadata of the encoder's training, if it is known.
        top: folder of the labelled recordings; None if they are in memory.
        rows: what became of every row of the labels.
    """
    trained_on = model_folder.describe_run(run).get("dataset")
    if not trained_on or top is None or not top.is_dir():
        return []
    words = str(trained_on).replace(",", " ").split()  # as in `dataset_list`, or any text
    names = [dataset_list.base_name(word) for word in words]
    folders = [path.parent for path in top.rglob(index_lib.METADATA_FILE)]
    present = [name for name in names if any(_is_of(folder, name) for folder in folders)]
    if not present:
        return []
    seen = sum(row.used and str(row.recording).startswith(f"{TRAIN}/") for row in rows)
    if not seen:
        return []
    detail = (
        f"{counted(seen, 'labelled recording')} of the split {TRAIN!r} of {present[0]}, on which "
        "the encoder was trained without these labels; the scores may be too good for new patients."
    )
    return [Note(problem="seen_in_training", detail=detail)]


def _is_of(version_dir: pathlib.Path, name: str) -> bool:
    """Returns whether a folder holds a version of a data set."""
    try:
        dataset = index_lib.read_metadata(version_dir)["dataset"]
    except UserError:
        return False
    return dataset_list.base_name(dataset) == name
