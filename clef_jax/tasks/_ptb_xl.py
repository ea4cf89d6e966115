"""Caveats and released protocol of the tasks on PTB-XL."""

from clef_jax.tasks._task import Released

UNGRADED = (
    "A recording has the class of every statement about it, whatever the statement's likelihood; a "
    "likelihood of 0 means that it was not graded, not that it is false."
)
EMPTY = "Recordings without any statement of this set are excluded, because they were not assessed."
RELEASED = Released(
    lead="II",
    filtered=False,
    zscored=False,
    caveats=(
        "It reads the 500 Hz files as if they were 100 Hz, so the model's input is the first two "
        "seconds, stretched to ten: its scores cannot be compared with those of whole recordings.",
        "All recordings are scaled by one mean and standard deviation of all training samples.",
        "Its one-cycle schedule advances once per epoch instead of once per batch, so the learning "
        "rate stays at 4e-4.",
    ),
)
