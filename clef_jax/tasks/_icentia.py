"""What the tasks on Icentia11k share."""

from clef_jax.tasks._task import Released

CAVEATS = (
    "Of each patient and class one window is stored by default, so classes are not as frequent as "
    "in life: read precision and accuracy with that in mind.",
    "The patch records a modified lead I, in no known unit.",
)
RELEASED = Released(
    lead="I",
    filtered=True,
    zscored=True,
    splits="patients shuffled with seed 42: 70 % train, 15 % validation, 15 % test",
    caveats=(
        "It filters at 250 Hz and resamples to 500 Hz afterwards.",
        "Classes are drawn equally often for training.",
        "It runs only from a list of windows that its own script made with 2,500 samples each.",
    ),
)
