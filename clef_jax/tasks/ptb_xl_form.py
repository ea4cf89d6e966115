"""PTB-XL, statements about the form (Wagner et al. 2020, doi:10.1038/s41597-020-0495-6)."""

from clef_jax.tasks import Task, _ptb_xl

TASK = Task(
    dataset="ptb_xl",
    kind="multilabel",
    label="form",
    leave_out_empty=True,
    description="The statements of PTB-XL about the form of the ECG waves: 19 classes.",
    caveats=(_ptb_xl.UNGRADED, _ptb_xl.EMPTY),
    in_paper=True,
    released=_ptb_xl.RELEASED,
)
