"""MIMIC-IV-ECG, reduced ejection fraction of the left ventricle."""

from clef_jax.tasks import Task, _lvef

TASK = Task(
    dataset=_lvef.DATASET,
    kind="binary",
    label="lvef_below_50",
    keep=_lvef.keep,
    description="Whether the ejection fraction of the left ventricle is below 50 %.",
    caveats=_lvef.CAVEATS,
    in_paper=True,
    released=_lvef.RELEASED,
)
