"""MC-MED, diastolic blood pressure at triage (doi:10.13026/wvyw-g663)."""

from clef_jax.tasks import Task, _mc_med

TASK = Task(
    dataset="mc_med",
    kind="regression",
    label="triage_dbp_mmhg",
    lead=_mc_med.LEAD,
    unit="mmHg",
    description="Diastolic blood pressure at triage.",
    caveats=(_mc_med.LEAD_CAVEAT, _mc_med.PRESSURE_CAVEAT),
    in_paper=True,
    released=_mc_med.RELEASED_PRESSURE,
)
