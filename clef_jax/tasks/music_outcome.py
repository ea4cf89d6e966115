"""MUSIC, how patients with heart failure fared (Martin-Yebra et al., doi:10.13026/z3m7-rf58)."""

from clef_jax.tasks import Released, Task

TASK = Task(
    dataset="music",
    kind="multiclass",
    label="outcome",
    lead="X",
    description="Survival or cause of death in the years after a Holter of heart failure.",
    caveats=(
        "The test set is small, and non-cardiac death is rare in it: intervals are wide.",
        "The source gives no split; the one prepared is a hash of the patient.",
        "Survivors are also patients whose follow-up ended otherwise: lost, or transplanted.",
        "That code 7 of the cause of death means pump failure is not verified.",
        "Follow-up is not equally long for all, and the task does not account for that.",
        "There is no lead I; encoders did not see the orthogonal lead X in pre-training.",
    ),
    in_paper=True,
    released=Released(
        lead="X",
        filtered=False,
        zscored=False,
        splits="rows of the table in its order: 70 % train, 10 % validation, 20 % test",
        caveats=(
            "Its test set has two patients of non-cardiac death.",
            "Classes are drawn equally often for training.",
            "It takes the first channel of the file, whatever its name.",
            "A Holter without a valid window gives a window of another length, which stops it.",
        ),
    ),
)
