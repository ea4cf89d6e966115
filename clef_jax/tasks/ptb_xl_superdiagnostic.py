"""PTB-XL, the five super-classes of the diagnoses (Wagner et al. 2020)."""

from clef_jax.tasks import Task, _ptb_xl

TASK = Task(
    dataset="ptb_xl",
    kind="multilabel",
    label="superdiagnostic",
    leave_out_empty=True,
    description=(
        "The super-classes of the diagnostic statements of PTB-XL: normal, infarction, ST-T "
        "change, conduction disturbance, hypertrophy."
    ),
    caveats=(_ptb_xl.UNGRADED, _ptb_xl.EMPTY),
    in_paper=True,
    released=_ptb_xl.RELEASED,
)
