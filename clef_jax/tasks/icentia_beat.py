"""Icentia11k, type of the central beat of ten seconds (Tan et al. 2019, doi:10.13026/kk0v-r952)."""

from clef_jax.tasks import Task, _icentia

TASK = Task(
    dataset="icentia11k",
    kind="multiclass",
    label="beat",
    description="Type of the central beat: normal, supraventricular or ventricular.",
    caveats=_icentia.CAVEATS,
    in_paper=True,
    released=_icentia.RELEASED,
)
