"""The lead-I protocol: PTB-XL, one logistic probe per concept, five random splits by record.

A third party compared published encoders on it (sukikrishna/ecg_interp, analysis/probes.py and
data/ptbxl.py at 7187c03), so `evaluate --preset=lead_I` gives the row of any encoder. The splits
are by record, so a patient may be in training and test: scores of other presets are not comparable.

Shapes: N recordings of all test sets, R resamples.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from clef_jax.data import index as index_lib
from clef_jax.embedding.prepared import Embedded
from clef_jax.errors import UserError
from clef_jax.evaluation import linear, prediction, score
from clef_jax.evaluation.examples import Examples
from clef_jax.evaluation.prediction import Layers, Predictions, Subset
from clef_jax.evaluation.score import Scored
from clef_jax.statistics import bootstrap, classification
from clef_jax.tasks import Example, Task, texts

NUM_SPLITS = 5
TEST_FRACTION = 0.2
PENALTY = 1.0
"""Weight of half the squared weights, beside the sum of the cross entropy over recordings."""
_MAX_ITERATIONS = 1000
LAST_STAGE, BEST_STAGE = "logistic", "logistic best stage"
"""Names of the two rows of an encoder: with its last stage, and with the stage of the highest mean
score on the test recordings."""
_CAVEATS = (
    "Random splits by record: recordings of a patient may be in training and test. Every recording "
    "counts, also without any statement of the kind. Published rows read the files at 100 Hz.",
    "The number of recordings is that of all test sets together. Features are not standardised.",
    "The best stage is chosen on the test recordings, as in the published rows, so its score is "
    "too high.",
)


def _task(name: str, description: str, label: str, *classes: str) -> Task:
    def target(example: Example) -> np.ndarray:
        return np.array([not set(classes).isdisjoint(texts(example[label]))], np.float32)

    return Task(
        dataset="ptb_xl",
        kind="binary",
        outputs=(name,),
        target=target,
        lead="I",
        description=description,
        caveats=_CAVEATS,
        name=f"ptb_xl_lead_I_{name}",
    )


_BUNDLE = ("CLBBB", "CRBBB", "ILBBB", "IRBBB")
TASKS = {
    task.name: task
    for task in (
        _task("af", "Atrial fibrillation.", "scp_codes", "AFIB"),
        _task("bbb", "Bundle branch block, complete or incomplete.", "scp_codes", *_BUNDLE),
        _task("norm", "Normal ECG.", "superdiagnostic", "NORM"),
        _task("lvh", "Left ventricular hypertrophy.", "scp_codes", "LVH"),
        _task("mi", "Myocardial infarction.", "superdiagnostic", "MI"),
    )
}
"""The concepts by the name of their task."""


def predict(
    task: Task, splits: Mapping[str, Embedded], layers: Layers, seed: int
) -> Iterator[tuple[str, Predictions]]:
    """Yields the row's name and the predictions of all test sets, for the last and the best stage.

    Args:
        task: One of `TASKS`.
        splits: Embedded splits of PTB-XL, which are pooled.
        layers: Functions that select each layer's features; the last one is the last stage.
        seed: Seed of the first split; each further split has the next.

    Raises:
        UserError: too few recordings have, or lack, the concept for one in each test set.
    """
    metadata = index_lib.read_metadata(next(iter(splits.values())).index.version_dir)
    subsets = [
        prediction.subset(task, metadata, embedded, layers, number)
        for number, embedded in enumerate(splits.values())
    ]
    whole = prediction.concatenate(subsets)
    check_counts(task.name, whole.target)
    by_layer = {layer: _predict(task, whole, layer, seed) for layer in layers}
    yield LAST_STAGE, list(by_layer.values())[-1]
    if len(by_layer) > 1:
        yield BEST_STAGE, max(by_layer.values(), key=lambda p: float(_mean_auroc(p)))


def check_counts(task: str, target: np.ndarray) -> None:
    """Raises UserError if a class has too few recordings for one in each test set.

    Args:
        task: Name of the task.
        target: Targets, 0 or 1, of any shape.
    """
    positive = int(target.sum())
    if min(positive, target.size - positive) < 1 / TEST_FRACTION:
        raise UserError(
            f"Too few recordings of the task {task} are of each class to split them at random: "
            f"{positive:,} of {target.size:,} are positive.",
            problem="one_class",
        )


def _predict(task: Task, whole: Subset, layer: str, seed: int) -> Predictions:
    examples = whole.examples(layer)
    parts, predicted, decided = [], [], []
    for number in range(NUM_SPLITS):
        test = stratified(whole.target[:, 0], seed + number)
        head = fit(examples.at(~test))
        parts.append((number, np.flatnonzero(test)))
        predicted.append(head(examples.features[test]))
        decided.append((predicted[-1] >= 0.5).astype(float))
    rows = np.concatenate([positions for _, positions in parts])
    return Predictions(
        outputs=task.outputs,
        target=whole.target[rows],
        predicted=np.concatenate(predicted),
        decided=np.concatenate(decided),
        patient=whole.patient[rows],
        age_years=whole.age_years[rows],
        male=whole.male[rows],
        strength=np.full(1, PENALTY),
        layer=layer,
        num_train=len(whole) - len(parts[0][1]),
        cross_validated=False,
        num_excluded=whole.num_excluded,
        fold=np.repeat([n for n, _ in parts], [len(positions) for _, positions in parts]),
    )


def stratified(target: np.ndarray, seed: int) -> np.ndarray:
    """Returns a mask, bool [N], of a random fifth of the recordings of each class."""
    rng, test = np.random.default_rng(seed), np.zeros(len(target), bool)
    for value in (0, 1):
        positions = rng.permutation(np.flatnonzero(target == value))
        test[positions[: round(TEST_FRACTION * len(positions))]] = True
    return test


def fit(train: Examples) -> linear.Linear:
    """Returns a logistic regression on features as they are, not standardised."""
    return linear.fit_unscaled(train, PENALTY / len(train), _MAX_ITERATIONS)


def _mean_auroc(predictions: Predictions, weight: np.ndarray | None = None) -> np.ndarray:
    """Returns the mean AUROC over the test sets, [] or [R] with weights [R, N]."""
    values = []
    for number in range(NUM_SPLITS):
        mask = np.asarray(predictions.fold) == number
        data = predictions.target[mask, 0], predictions.predicted[mask, 0]
        values.append(classification.auroc(*data, None if weight is None else weight[:, mask]))
    return np.mean(values, axis=0)


def scores(
    task: Task, predictions: Predictions, *, num_resamples: int, seed: int
) -> Iterator[Scored]:
    """Computes scores as `score.compute`; the AUROC is the mean over the test sets."""
    weight = bootstrap.patient_weights(predictions.patient, num_resamples, seed)
    count = len(np.unique(predictions.patient))
    for scored in score.compute(task, predictions, num_resamples=num_resamples, seed=seed):
        if scored.name == "auroc":
            interval = bootstrap.interval(_mean_auroc(predictions, weight), count)
            value = float(_mean_auroc(predictions))
            scored = dataclasses.replace(scored, value=value, interval=interval)
        yield scored
