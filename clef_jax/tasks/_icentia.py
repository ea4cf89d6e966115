"""Caveats and released protocol of the tasks on Icentia11k."""

from clef_jax.tasks._task import Released

CAVEATS = (
    "By default one window per patient and class is stored, so the classes' frequencies are not "
    "those of unselected recordings, which affects precision and accuracy.",
    "The patch records a modified lead I in an unknown unit.",
)
RELEASED = Released(
    lead="I",
    filtered=True,
    zscored=True,
    splits="patients shuffled with seed 42: 70 % train, 15 % validation, 15 % test",
    caveats=(
        "It filters at 250 Hz and resamples to 500 Hz afterwards.",
        "Classes are sampled equally often for training.",
        "It needs a list of windows of 2,500 samples each, which its own script makes.",
    ),
)
