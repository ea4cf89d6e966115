"""MIMIC-IV-ECG, ejection fraction of the left ventricle."""

from clef_jax.tasks import Task, _lvef

TASK = Task(
    dataset=_lvef.DATASET,
    kind="regression",
    label="lvef_percent",
    keep=_lvef.keep,
    unit="%",
    description="Ejection fraction of the left ventricle in percent.",
    caveats=_lvef.CAVEATS,
    in_paper=True,
    released=_lvef.RELEASED,
)
