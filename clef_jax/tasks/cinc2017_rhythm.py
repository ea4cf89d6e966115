"""CinC Challenge 2017, all four classes (Clifford et al., doi:10.22489/CinC.2017.065-469)."""

from clef_jax.tasks import Task, _cinc2017

TASK = Task(
    dataset="cinc2017",
    kind="multiclass",
    label="rhythm",
    description="Rhythm of a hand-held recording: normal, atrial fibrillation, other or too noisy.",
    caveats=_cinc2017.CAVEATS,
)
