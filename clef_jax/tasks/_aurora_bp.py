"""Recordings, caveats and released protocol of the tasks on Aurora-BP."""

from clef_jax.tasks._example import text
from clef_jax.tasks._task import Example, Released

DATASET = "aurora_bp/auscultatory"
_PHASE, _MEASUREMENT = "initial", "Calibration start 1"
CAVEATS = (
    "The target is the participant's pressure at rest, as in the paper; the pressure of each "
    "measurement is stored as sbp_mmhg and dbp_mmhg.",
    "Only recordings of the first calibration of the first visit are used, as in the public "
    "reference, because the other recordings were made at other pressures than the target.",
    "This leaves one recording per participant. The reference repeats it for every row of "
    "features.tsv, so that participants with many measurements have more weight.",
)
RELEASED = Released(
    lead="I",
    filtered=False,
    zscored=True,
    splits="participants by train_test_split of scikit-learn, seed 42: 70 % train, 15 % "
    "validation, 15 % test",
    caveats=(
        "It repeats a recording for every row of its participant in features.tsv.",
        "It deletes missing samples and selects ten seconds at random, also in the test set.",
        "Training rows are not shuffled.",
        "Targets are scaled by the mean and the standard deviation of the training rows.",
    ),
)


def keep(example: Example) -> bool:
    """Returns whether the recording is from the first calibration of the first visit."""
    return (text(example["phase"]), text(example["measurement"])) == (_PHASE, _MEASUREMENT)
