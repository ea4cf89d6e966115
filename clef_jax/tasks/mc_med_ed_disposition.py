"""MC-MED, where patients go from the emergency department (doi:10.13026/wvyw-g663)."""

from clef_jax.tasks import Task, _mc_med

TASK = Task(
    dataset="mc_med",
    kind="multiclass",
    label="ed_disposition",
    lead=_mc_med.LEAD,
    description="Where the patient goes from the emergency department: 4 classes.",
    caveats=(
        _mc_med.LEAD_CAVEAT,
        "Visits with an unknown disposition are excluded.",
    ),
    in_paper=True,
    released=_mc_med.released("An unknown disposition counts as discharge."),
)
