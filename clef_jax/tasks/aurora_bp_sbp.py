"""Aurora-BP, systolic blood pressure at rest (Mieloszyk et al. 2022)."""

from clef_jax.tasks import Task, _aurora_bp

TASK = Task(
    dataset=_aurora_bp.DATASET,
    kind="regression",
    label="baseline_sbp_mmhg",
    keep=_aurora_bp.keep,
    unit="mmHg",
    description="Systolic blood pressure of the participant at rest.",
    caveats=_aurora_bp.CAVEATS,
    in_paper=True,
    released=_aurora_bp.RELEASED,
)
