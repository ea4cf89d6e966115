"""Icentia11k, the beat in the middle of ten seconds (Tan et al. 2019, doi:10.13026/kk0v-r952)."""

from clef_jax.tasks import Task, _icentia

TASK = Task(
    dataset="icentia11k",
    kind="multiclass",
    label="beat",
    description="Whether the beat in the middle is normal, supraventricular or ventricular.",
    caveats=_icentia.CAVEATS,
    in_paper=True,
    released=_icentia.RELEASED,
)
