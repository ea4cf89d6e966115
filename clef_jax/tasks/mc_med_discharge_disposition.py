"""MC-MED, where patients go at the end of the stay (doi:10.13026/wvyw-g663)."""

from clef_jax.tasks import Task, _mc_med

TASK = Task(
    dataset="mc_med",
    kind="multiclass",
    label="discharge_disposition",
    lead=_mc_med.LEAD,
    description="Where the patient goes at the end of the stay: 6 classes.",
    caveats=(
        _mc_med.LEAD_CAVEAT,
        "Classes are found by words in the public reference's order, so home health care and a "
        "hospice at home both count as home.",
        "Visits with an empty disposition are left out.",
    ),
    in_paper=True,
    released=_mc_med.released("An empty disposition counts as any other text."),
)
