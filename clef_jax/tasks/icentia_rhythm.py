"""Icentia11k, the rhythm of ten seconds (Tan et al. 2019, doi:10.13026/kk0v-r952)."""

from clef_jax.tasks import Task, _icentia

TASK = Task(
    dataset="icentia11k",
    kind="multiclass",
    label="rhythm",
    description="Whether the rhythm is normal, atrial fibrillation or atrial flutter.",
    caveats=(
        *_icentia.CAVEATS,
        "A window lies within its rhythm; the reference's may outlast it.",
    ),
    in_paper=True,
    released=_icentia.RELEASED,
)
