"""Lead, caveats and released protocol of the tasks on MC-MED."""

from clef_jax.tasks._task import Released

LEAD = "II"
LEAD_CAVEAT = "The recordings hold only lead II of a monitor; lead I is not available."
PRESSURE_CAVEAT = (
    "The pressure was measured at triage; the recording began later, by an unknown time."
)


def released(*caveats: str) -> Released:
    """Returns the protocol of all five tasks, with the caveats of one task in front."""
    return Released(
        lead=LEAD,
        filtered=True,
        zscored=True,
        splits="official, with all visits, as in mc_med/as_given",
        caveats=(
            *caveats,
            "It filters as if the sampling rate were 500 Hz, whatever the header states.",
            "A recording of fewer than 5,000 samples is replaced by zeros and keeps its label, and "
            "one missing sample makes the loss NaN.",
        ),
    )


RELEASED_PRESSURE = released(
    "Targets are scaled by the mean and the standard deviation of the training set."
)
