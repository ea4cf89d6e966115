"""Recordings, caveats and released protocol of the tasks on the ejection fraction."""

from clef_jax.tasks._example import text
from clef_jax.tasks._task import Example, Released

DATASET = "mimic_iv_ecg/lvef"
CAVEATS = (
    "These patients are also in the pre-training data set. Those in its training split are "
    "excluded from all splits of this task, because the encoder may have been trained on them.",
    "To have enough patients left, prepare the pre-training data with --leave-out=FILE.csv, and "
    "this data set after it.",
    "This separates the patients only for encoders that were trained on the data in the same "
    "folder; others, such as the published ones, may have been trained on any patient of "
    "MIMIC-IV-ECG.",
)
RELEASED = Released(
    lead="II",
    filtered=False,
    zscored=True,
    splits="rows of the table in its order: 80 % train, 10 % validation, 10 % test; a patient may "
    "be in several",
    caveats=(
        "It does not exclude the patients of the pre-training data.",
        "It trains for one epoch.",
        "Missing samples count as 0.",
        "It stops with an error on PyTorch 2.7 and later, and its table is not published.",
    ),
)


def keep(example: Example) -> bool:
    """Returns whether the patient is outside of the training split of the pre-training data."""
    return text(example["pretraining_split"]) != "train"
