"""Icentia11k, rhythm of ten seconds (Tan et al. 2019, doi:10.13026/kk0v-r952)."""

from clef_jax.tasks import Task, _icentia

TASK = Task(
    dataset="icentia11k",
    kind="multiclass",
    label="rhythm",
    description="Rhythm of ten seconds: normal, atrial fibrillation or atrial flutter.",
    caveats=(
        *_icentia.CAVEATS,
        "A window lies completely within its rhythm; the reference's may extend beyond its end.",
    ),
    in_paper=True,
    released=_icentia.RELEASED,
)
