"""What the tasks on PTB-XL share."""

from clef_jax.tasks._task import Released

UNGRADED = (
    "A recording has every class that a statement gives it, however likely: a likelihood of 0 says "
    "that nobody graded it, not that it is untrue."
)
EMPTY = "Recordings without any statement of this set are left out: nobody judged them on it."
RELEASED = Released(
    lead="II",
    filtered=False,
    zscored=False,
    caveats=(
        "It takes the 500 Hz files for 100 Hz ones, so a model sees the first two seconds, "
        "stretched to ten: its numbers cannot be compared with those of whole recordings.",
        "All recordings are scaled by the one mean and deviation of the training samples.",
        "Its one-cycle schedule moves on once an epoch instead of once a batch, so the learning "
        "rate stays at 4e-4.",
    ),
)
