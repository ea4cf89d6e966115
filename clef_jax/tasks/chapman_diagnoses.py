"""Chapman-Shaoxing-Ningbo, all diagnoses (Zheng et al. 2020, doi:10.13026/wgex-er52)."""

from clef_jax.tasks import Released, Task

TASK = Task(
    dataset="chapman",
    kind="multilabel",
    label="diagnoses",
    description="The diagnoses of Chapman-Shaoxing-Ningbo: 38 classes with the HeartLang split.",
    caveats=(
        "The 38 classes and the paper's split need the tables of HeartLang when the data is "
        "prepared; without them the classes are the diagnoses of at least ten recordings.",
        "Sinus bradycardia is not among the 38 classes: a recording with no other diagnosis is "
        "kept, as one without any class.",
    ),
    in_paper=True,
    released=Released(
        lead="II",
        filtered=True,
        zscored=True,
        splits="as prepared with the tables of HeartLang",
        caveats=(
            "All leads together are first scaled to the range -3 to 3, which the z-score undoes.",
        ),
    ),
)
