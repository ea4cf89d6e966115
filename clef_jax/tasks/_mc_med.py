"""What the tasks on MC-MED share: its only lead, and how the reference reads it."""

from clef_jax.tasks._task import Released

LEAD = "II"
LEAD_CAVEAT = "Lead II of a monitor is the only one; there is no lead I."
PRESSURE_CAVEAT = (
    "The pressure is that of triage; the recording began later, and nobody says by how much."
)


def released(*caveats: str) -> Released:
    """The protocol of all five tasks, with what is said of one of them."""
    return Released(
        lead=LEAD,
        filtered=True,
        zscored=True,
        splits="official, whoever is in them, as in mc_med/as_given",
        caveats=(
            *caveats,
            "It filters at 500 Hz, whatever the header says.",
            "A recording of fewer than 5,000 samples becomes zeros that keep their label, and one "
            "missing sample makes the loss NaN.",
        ),
    )


RELEASED_PRESSURE = released("Targets are scaled by mean and deviation of the training set.")
