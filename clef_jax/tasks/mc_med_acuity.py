"""MC-MED, emergency severity at triage (doi:10.13026/wvyw-g663)."""

from clef_jax.tasks import Task, _mc_med

TASK = Task(
    dataset="mc_med",
    kind="multiclass",
    label="acuity",
    lead=_mc_med.LEAD,
    description="Emergency severity at triage, from 1, the most urgent, to 5.",
    caveats=(
        _mc_med.LEAD_CAVEAT,
        "The levels are ordered, but each is treated as a separate class, as in the paper.",
    ),
    in_paper=True,
    released=_mc_med.released(),
)
