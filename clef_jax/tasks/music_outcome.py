"""MUSIC, outcome of patients with heart failure (Martin-Yebra et al., doi:10.13026/z3m7-rf58)."""

from clef_jax.tasks import Released, Task

TASK = Task(
    dataset="music",
    kind="multiclass",
    label="outcome",
    lead="X",
    description="Survival or cause of death after a Holter recording of patients in heart failure.",
    caveats=(
        "The test set is small and has few non-cardiac deaths, so intervals are wide.",
        "The source has no splits; patients are assigned to splits by a hash of their identifier.",
        "Survivors include patients whose follow-up ended for other reasons: they were lost to "
        "follow-up, or had a transplantation.",
        "It is not verified that code 7 of the cause of death means pump failure.",
        "The length of follow-up differs between patients; the task does not account for that.",
        "Lead I is not available; encoders were not pre-trained on the orthogonal lead X.",
    ),
    in_paper=True,
    released=Released(
        lead="X",
        filtered=False,
        zscored=False,
        splits="rows of the table in its order: 70 % train, 10 % validation, 20 % test",
        caveats=(
            "Its test set has two patients with non-cardiac death.",
            "Classes are sampled equally often for training.",
            "It reads the first channel of the file, whatever its name.",
            "A Holter recording without a valid window yields a window of another length, which "
            "stops it with an error.",
        ),
    ),
)
