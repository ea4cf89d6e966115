"""Adapts published encoders to a task: its lead, and the training patients' mean and deviation.

Shapes: W windows, C leads, S samples of a window.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from clef_jax.data import index as index_lib, metadata
from clef_jax.data.index import TRAIN
from clef_jax.embedding import batch, inputs
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.embedding.recipe import Recipe
from clef_jax.embedding.window import Windower
from clef_jax.errors import UserError, counted
from clef_jax.evaluation.combined import Combined
from clef_jax.evaluation.feature_source import Model
from clef_jax.evaluation.prediction import HoldOut


def adapt(
    model: Model,
    version_dir: pathlib.Path,
    lead: str,
    hold_out: HoldOut | None,
    cache_dir: pathlib.Path,
) -> Model:
    """Returns the model as it embeds one lead of a data set; only published encoders change.

    A network of 12 leads becomes that of the lead. Where the variant scales by one mean and one
    standard deviation, they are those of the lead in the training split, without patients who have
    held out recordings.

    Args:
        version_dir: folder of the prepared data set.
        hold_out: held out recordings.
        cache_dir: folder for the metadata of the data set.

    Raises:
        UserError: the network has no form for the lead, or the data set no training recordings.
    """
    if isinstance(model, Combined):
        parts = [adapt(part, version_dir, lead, hold_out, cache_dir) for part in model.parts]
        return dataclasses.replace(model, parts=tuple(parts))
    if isinstance(model, Embedder) and model.in_channels > 1:
        raise UserError(
            f"{model.name} takes {counted(model.in_channels, 'lead')} at once and has no form for "
            f"lead {lead} alone; evaluate a network of one lead.",
            problem="wrong_lead_count",
        )
    if not isinstance(model, ForeignEncoder):
        return model
    if model.variant.standardised and model.statistics is None:
        scale = _statistics(version_dir, model.recipe, lead, hold_out, cache_dir)
        model = dataclasses.replace(model, statistics=scale)
    return model.for_lead(lead)


@functools.lru_cache(maxsize=32)
def _statistics(
    version_dir: pathlib.Path,
    recipe: Recipe,
    lead: str,
    hold_out: HoldOut | None,
    cache_dir: pathlib.Path,
) -> tuple[float, float]:
    """Returns mean and standard deviation in mV of a lead of the training patients."""
    if TRAIN not in index_lib.splits(version_dir):
        raise UserError(
            f"The data set in {version_dir} has no split {TRAIN!r}, from which the preprocessing "
            "takes its mean and standard deviation.",
            problem="no_training_split",
        )
    index = index_lib.load(version_dir, TRAIN)
    usable = index.usable_leads[:, index.lead_row(lead)].copy()
    if hold_out is not None:
        records = metadata.load(index, cache_dir)
        held = np.array([record.get(hold_out.label) in hold_out.values for record in records])
        usable &= ~np.isin(index.patient, index.patient[held])
    count, total, squares = 0, 0.0, 0.0
    for opened in inputs.stored(index, np.flatnonzero(usable), lead):
        windower = Windower(recipe, opened.sample_rate_hz)
        (windows,) = batch.read(opened, [(0,)], windower, windower.starts(opened.num_samples))
        known = windows.signal_mv[np.isfinite(windows.signal_mv)].astype(np.float64)
        count, total = count + known.size, total + known.sum()
        squares += np.square(known).sum()
    if not count:
        raise UserError(
            f"No training recording in {version_dir} has a usable lead {lead}.",
            problem="no_training_recordings",
        )
    mean = total / count
    return float(mean), float(np.sqrt(max(squares / count - mean**2, 0.0)))
