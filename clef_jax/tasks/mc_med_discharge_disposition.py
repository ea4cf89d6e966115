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
        "Classes are assigned by words in the public reference's order, so home health care and "
        "hospice at home both count as home.",
        "Visits with an empty disposition are excluded.",
    ),
    in_paper=True,
    released=_mc_med.released("An empty disposition is treated as any other text."),
)
