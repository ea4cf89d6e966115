"""What the tasks on Aurora-BP share."""

from clef_jax.tasks._example import text
from clef_jax.tasks._task import Example, Released

DATASET = "aurora_bp/auscultatory"
_PHASE, _MEASUREMENT = "initial", "Calibration start 1"
CAVEATS = (
    "The target is the participant's pressure at rest, as in the paper; that of the measurement "
    "itself is stored as sbp_mmhg and dbp_mmhg.",
    "Only the first calibration of the first visit counts, as in the public reference: the other "
    "recordings were made at other pressures than the target.",
    "That is one recording of each participant; the reference repeats it for every row of "
    "features.tsv, so that participants with many measurements weigh more.",
)
RELEASED = Released(
    lead="I",
    filtered=False,
    zscored=True,
    splits="participants by train_test_split of scikit-learn, seed 42: 70 % train, 15 % "
    "validation, 15 % test",
    caveats=(
        "It repeats a recording for every row of features.tsv of its participant.",
        "It deletes missing samples, and takes ten seconds at random, in the test too.",
        "Training rows are not shuffled.",
        "Targets are scaled by mean and deviation of the training rows.",
    ),
)


def keep(example: Example) -> bool:
    """Whether it is the first calibration of the first visit."""
    return (text(example["phase"]), text(example["measurement"])) == (_PHASE, _MEASUREMENT)
