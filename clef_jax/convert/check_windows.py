"""Windows on which a file with fewer bits is compared with the exact one.

Shapes: B windows, L leads, T time (samples).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from clef_jax import leads as lead_names
from clef_jax.embedding import batch, inputs, lead_selection
from clef_jax.embedding.recipe import Recipe
from clef_jax.embedding.window import Windower
from clef_jax.errors import UserError
from clef_jax.finding import Defect, Finding, catch_failures
from clef_jax.formats import Hints, Opened
from clef_jax.simulation import simulated_ecg

NUM_SIMULATED = 200
"""Number of simulated windows: two of them are the 1 % of decisions that may flip."""
MOST_WINDOWS = 1000
"""Most windows of recordings that are compared."""
_MOST_OF_RECORDING = 8
"""Most windows of one lead of a recording, so that one long recording is not the whole check."""
_BATCH = 20
_NOISE_MV, _OFFSET_MV = 0.02, 1.5


def simulated(num_leads: int, num_samples: int, sample_rate_hz: float) -> Iterator[np.ndarray]:
    """Yields windows of as many simulated people, in millivolts with noise and an offset, float32
    [B, L, T]; deterministic."""
    names = [lead_names.STANDARD_12[n % 12] for n in range(num_leads)]
    rng = np.random.default_rng(0)
    for first in range(0, NUM_SIMULATED, _BATCH):
        people = [
            simulated_ecg.make(n, names, sample_rate_hz=sample_rate_hz, num_samples=num_samples)
            for n in range(first, min(first + _BATCH, NUM_SIMULATED))
        ]
        mv = np.stack(people) + rng.uniform(-_OFFSET_MV, _OFFSET_MV, (len(people), num_leads, 1))
        yield (mv + _NOISE_MV * rng.standard_normal(mv.shape)).astype(np.float32)


def of_recordings(
    paths: Sequence[str],
    recipe: Recipe,
    num_leads: int,
    sample_rate_hz: float,
    hints: Hints,
) -> Iterator[np.ndarray]:
    """Yields the usable windows of every lead of recordings in millivolts, float32 [B, L, T].

    They are at most 1,000, of which at most 8 are of one lead of a recording.

    Args:
        paths: files, folders, WFDB records or prepared data sets.
        recipe: preprocessing of the encoder.
        num_leads: number of leads that the encoder takes at once.
        sample_rate_hz: sampling rate of the windows in Hz, to which recordings are resampled.
        hints: sampling rate, unit and leads of files that do not state them.

    Raises:
        UserError: a path does not exist, or no recording has a usable window.
    """
    count, reasons = 0, []

    def note(finding: Finding) -> None:
        reasons.append(f"{finding.record_id}: {finding.detail}")

    for opened in inputs.recordings(inputs.files(paths), hints, note):
        try:
            with catch_failures(opened.name):
                windows = _read(opened, recipe, num_leads, sample_rate_hz, note)
        except Defect as defect:
            note(defect.finding(opened.name))
            continue
        for some in windows:
            usable = some.signal_mv[some.quality.usable][: MOST_WINDOWS - count]
            count += len(usable)
            if len(usable):
                yield usable
        if count == MOST_WINDOWS:
            return
    if not count:
        reason = f" The first reason: {reasons[0]}" if reasons else ""
        raise UserError(
            f"No usable window was found in {', '.join(paths)}, so that the smaller file cannot be "
            f"checked on these recordings.{reason}",
            problem="no_windows",
        )


def _read(
    opened: Opened,
    recipe: Recipe,
    num_leads: int,
    sample_rate_hz: float,
    note: lead_selection.ReportFinding,
) -> list[batch.Windows]:
    """Returns the first windows of each lead of a recording.

    Raises:
        Defect: the recording does not suit the encoder, or cannot be read.
    """
    try:
        windower = Windower(recipe, opened.sample_rate_hz, window_rate_hz=sample_rate_hz)
        starts = windower.starts(opened.num_samples)[:_MOST_OF_RECORDING]
    except UserError as error:
        raise Defect(error.problem or "wrong_rate", str(error)) from error
    leads = lead_selection.select(opened, (lead_selection.ALL_LEADS,), num_leads, note)
    return batch.read(opened, [lead.rows for lead in leads], windower, starts)
