"""What the tasks on the ejection fraction share."""

from clef_jax.tasks._example import text
from clef_jax.tasks._task import Example, Released

DATASET = "mimic_iv_ecg/lvef"
CAVEATS = (
    "These patients are in the corpus of pre-training: those whose recordings may have trained the "
    "encoder are left out of all splits.",
    "To have enough others, prepare the pre-training data with --leave-out=FILE.csv, and this data "
    "set after it.",
    "That holds for encoders that were trained on the data in the same folder; others, such as the "
    "published ones, may have seen any patient of MIMIC-IV-ECG.",
)
RELEASED = Released(
    lead="II",
    filtered=False,
    zscored=True,
    splits="rows of the table in its order: 80 % train, 10 % validation, 10 % test; a patient may "
    "be in several",
    caveats=(
        "It does not leave out the patients of pre-training.",
        "It trains for one epoch.",
        "Missing samples count as 0.",
        "It stops with an error on PyTorch 2.7 and later, and its table is not published.",
    ),
)


def keep(example: Example) -> bool:
    """Whether the encoder cannot have been trained on the patient."""
    return text(example["pretraining_split"]) != "train"
