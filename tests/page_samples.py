"""Synthetic results and pages, so that tests and screenshots need no training."""

import contextlib
import dataclasses
import io
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from clef_jax import tasks
from clef_jax.evaluation import (
    ablation,
    best,
    page as evaluation_page_lib,
    result as result_lib,
    score,
)
from clef_jax.evaluation.ablation import MainScore
from clef_jax.evaluation.effects import Trial
from clef_jax.evaluation.prediction import Predictions
from clef_jax.evaluation.result import Result
from clef_jax.page import chart, figure
from clef_jax.tasks import Task

MODELS = (
    *("clef-large", "clef-medium", "clef-small", "encoder A", "encoder B", "encoder C"),
    *("encoder D", "encoder E", "rhythm and spectrum", "age, sex and pressure"),
    *("random large, seed 0", "a wearable team's own embeddings, 256 features"),
)
"""Names of models; the results are synthetic, so that no published model is among them."""
ABOUT = {
    "command": "python -m clef_jax.evaluate --model runs/large --data-dir data --out evaluation",
    "settings": {"tasks": "paper", "num_resamples": 100, "seed": 0},
    "models": {name: f"{number:064x}" for number, name in enumerate(MODELS)},
    "inputs": {"encoder A": "500 Hz, lead I, z-scored"},
    "costs": {
        name: {"parameters": 1e6 * (number + 1), "flops": 3e9, "windows_per_second": 120.0}
        for number, name in enumerate(MODELS)
    },
    "remarks": ["encoder A has no stages, so its only layer is evaluated."],
}


def results(
    num_tasks: int = 18, num_models: int = 12, *, num_recordings: int = 240, label_shares=(1.0,)
) -> list[Result]:
    """Returns results of the paper's tasks; models that come first are better.

    One classification has classes that are absent from the test set, one has one class only in
    its test set, and the last model predicts a constant.
    """
    chosen = list(_tasks(num_tasks))
    return [
        _result(task, number, model, share, num_recordings)
        for number, task in enumerate(chosen)
        for model in MODELS[:num_models]
        for share in label_shares
    ]


def _tasks(count: int) -> Iterator[Task]:
    paper = [task for task in tasks.load().values() if task.in_paper]
    kinds = dict.fromkeys(task.kind for task in paper)
    first = [next(task for task in paper if task.kind == kind) for kind in kinds]
    for number, task in enumerate([*first, *(t for t in paper if t not in first)][:count]):
        num_outputs = {"binary": 1, "regression": 1}.get(task.kind, 5 if number % 2 else 40)
        names = task.outputs or tuple(f"class {k}" for k in range(num_outputs))
        yield dataclasses.replace(
            task, outputs=names, label=None, target=dict, leave_out_empty=False
        )


def _result(task: Task, number: int, model: str, share: float, num: int) -> Result:
    rank = MODELS.index(model)
    truth, noise = np.random.default_rng(number), np.random.default_rng([1, number, rank])
    shape = (num, len(task.outputs))
    spread = 0.6 + 0.08 * rank + 0.5 * (1 - share)
    if task.kind == "regression":
        target = truth.normal(120, 20, shape)
        predicted = 120 + (target - 120) / (1 + spread) + 10 * spread * noise.normal(size=shape)
        decided = np.full(shape, np.nan)
    else:
        hidden = truth.normal(size=shape) - 0.5
        target = (hidden > 0).astype(float)
        if task.kind == "multiclass":
            target = np.eye(shape[1])[hidden.argmax(axis=1)]
        if shape[1] > 8:
            target[:, 25:] = 0  # the classes of real data are seldom all present
        if number == 2:
            target[:] = np.arange(shape[1]) == 0
        logit = hidden + spread * noise.normal(size=shape)
        predicted = 1 / (1 + np.exp(-2 * logit))
        decided = (predicted > 0.5).astype(float)
    if rank == len(MODELS) - 1:
        predicted = np.full(shape, target.mean())
    predictions = Predictions(
        outputs=task.outputs,
        target=target,
        predicted=predicted,
        decided=decided,
        patient=np.arange(num) // 2,
        age_years=truth.uniform(30, 90, num),
        male=truth.integers(0, 2, num).astype(float),
        strength=np.ones(shape[1]),
        layer="last",
        num_train=2 * num,
        cross_validated=False,
        num_excluded=3,
    )
    scores = tuple(score.compute(task, predictions, num_resamples=60, seed=0))
    return Result(task, model, "linear", share, 0, predictions, scores, 0.0)


def pages() -> dict[str, str]:
    """Returns a page of each kind, by its name in `PAGES`."""
    found = results(4, 3, num_recordings=120)
    return {
        "evaluation": evaluation_page(found),
        "training": training_page(),
        "comparison": comparison_page(),
        "ablation": ablation_page(),
        "fit": fit_page(),
        "predict": predict_page(),
        "explain": explain_page(),
        "check": check_page(),
    }


PAGES = (
    *("evaluation", "training", "comparison", "ablation", "fit", "predict", "explain", "check"),
)


def evaluation_page(found: Sequence[Result], num_resamples: int = 60) -> str:
    """Returns the page of an evaluation."""
    standings = best.by_task(found, num_resamples=num_resamples, seed=0)
    single = [result for result in found if len(result.task.outputs) == 1]
    compared = result_lib.compare(single, num_resamples=num_resamples, seed=0)
    problems = ["icentia_af: the data set has no lead I."]
    return evaluation_page_lib.render(about(found), found, compared, [], problems, standings)


def log_lines(seed: int = 0, fall: float = 1.5, num_steps: int = 200) -> list[dict]:
    """Returns the log of a run with one representation check."""
    rng = np.random.default_rng(seed)
    lines: list[dict] = [
        {
            "step": step,
            "loss": 4 - fall * (1 - np.exp(-step / 60)) + 0.1 * rng.normal(),
            "nce": 3 - fall * (1 - np.exp(-step / 60)) + 0.1 * rng.normal(),
            "pairs_per_second": 120.0,
            "data_seconds": 0.01,
            "device_seconds": 0.2,
            "host_seconds": 0.01,
        }
        for step in range(2, num_steps + 1, 2)
    ]
    return [*lines, {"step": num_steps, "health/uniformity": -2.1, "health/retrieval": 0.71}]


def saved_run(**changes) -> dict:
    """Returns what a run's folder says about it."""
    config = {"size": "tiny", "objective": "clef", "dataset": "mimic_iv_ecg", "seed": 42}
    return {
        "config": {**config, "learning_rate": 1e-4, **changes},
        "position": {"next_step": 200},
        "data": {"data set": "0123456789abcdef"},
    }


def ecg(num: int, sample_rate_hz: int = 500, seconds: int = 10) -> np.ndarray:
    """Returns signals with beats, [num, T]."""
    rng = np.random.default_rng(5)
    time = np.arange(sample_rate_hz * seconds) / sample_rate_hz
    beats = np.exp(-(((time * 1.2) % 1 - 0.3) ** 2) / 4e-4)
    waves = 0.2 * np.exp(-(((time * 1.2) % 1 - 0.6) ** 2) / 4e-3)
    return beats + waves + 0.03 * rng.normal(size=(num, len(time)))


def training_page() -> str:
    """Returns the page of a run whose loss did not fall."""
    from clef_jax.config import TrainConfig
    from clef_jax.training import page

    lines, signals, rng = log_lines(fall=0.0), ecg(2), np.random.default_rng(0)
    views = {"filtered, z-scored": signals * 3, "first view": -signals, "second view": signals}
    examples = figure.before_and_after(signals, views, ["I", "aVR"], 500.0)
    risk = np.where(rng.random(300) < 0.2, np.nan, rng.random(300) ** 2)
    embedding_map = figure.embedding_map(rng.normal(size=(300, 6)), risk)
    loss = figure.curves({"run": lines}, ["loss", "nce"], smooth_lines=10)
    health = figure.curves({"run": lines}, ["health/uniformity", "health/retrieval"])
    sections = [
        page.Section("Training loss", "The loss and its parts.", chart.grid(*loss)),
        page.Section("Representation quality", "At each check.", chart.grid(*health)),
        page.Section("Recordings", "Before and after.", chart.grid(*examples)),
        page.Section("Map of the embeddings, by risk", "", chart.grid(embedding_map, kind="three")),
    ]
    config = TrainConfig(data_dir="data", workdir="run", size="tiny")
    return page.page(config, saved_run(), lines, sections)


def comparison_page() -> str:
    """Returns the page that compares three runs."""
    from clef_jax.training import comparison_page

    runs = {"first": saved_run(), "second": saved_run(learning_rate=1e-3), "third": saved_run()}
    lines = {"first": log_lines(0), "second": log_lines(1, 2.5), "third": log_lines(2, 0.0)}
    return comparison_page.render(runs, lines)


def ablation_page() -> str:
    """Returns the page of a grid with three seeds."""
    rng = np.random.default_rng(0)
    rows, trials = [], []
    for leads, gain in (("random", 0.0), ("I", 0.03), ("II", 0.0)):
        for temperature in ("0.05", "0.07"):
            point = {"leads": leads, "clef.temperature": temperature}
            values = 0.8 + gain + 0.01 * rng.normal(size=3)
            for seed, value in enumerate(values):
                scores = {name: MainScore("auroc", value) for name in ("cinc2017_af", "ptb_xl")}
                trials.append(Trial(point, seed, scores))
            cell = f"{values.mean():.3f} ± {values.std():.3f}"
            rows.append({**point, "seeds": "3", "cinc2017_af: auroc": cell, "ptb_xl: auroc": cell})
    failed = {"leads=III_seed_1": "training: the disk is full (exit code 1)"}
    return ablation.render(rows, {"design": "product", "seeds": "(0, 1, 2)"}, failed, trials)


def fit_page() -> str:
    """Returns the page of a head for two labels."""
    from clef_jax.fitting import fitted_head, page
    from clef_jax.fitting.dataset import Dataset

    rng, num = np.random.default_rng(0), 90
    features = rng.normal(size=(num, 4)).astype(np.float32)
    target = (features[:, :2] + 0.8 * rng.normal(size=(num, 2)) > 0.3).astype(float)
    dataset = Dataset(
        kind="multilabel",
        outputs=("atrial fibrillation", "left bundle branch block"),
        target=target,
        patient=np.arange(num),
        age_years=rng.uniform(40, 90, num),
        male=rng.integers(0, 2, num).astype(float),
        features={"embedding": features, "rhythm and spectrum": features[:, ::-1] ** 2},
        leads=("I",),
        sample_rate_hz=np.full(num, 500.0),
        rows=(),
        notes=(),
        knows_patients=True,
    )
    rows = [fitted_head.Row(name=name, features=(name,)) for name in dataset.features]
    fitted = fitted_head.fit(
        dataset,
        rows,
        layer="last",
        head_features=("embedding",),
        options=fitted_head.Options(num_resamples=40),
    )
    return page.render("clef-small", "0" * 64, dataset, fitted)


def predict_page() -> str:
    """Returns the page of a day of answers, with a gap."""
    from clef_jax.embedding.head import Head
    from clef_jax.predicting import page
    from clef_jax.predicting.timeline import Timeline, Timelines

    rng, num = np.random.default_rng(0), 2000
    timeline, day = Timeline("a day", "I", 1), 24 * 3600.0
    start = np.arange(num) * day / num
    probability = np.clip(0.2 + 0.5 * (start > day / 2) + 0.1 * rng.normal(size=num), 0, 1)
    probability[400:500] = np.nan
    timeline._start.extend(start)
    timeline._seconds.extend(np.full(num, day / num))
    timeline._score.extend(probability)
    timeline._decision.extend(np.where(np.isnan(probability), np.nan, probability > 0.5))
    timelines = Timelines(1)
    timelines._by_lead[timeline.recording, timeline.lead] = timeline
    head = Head(
        weight=np.ones((1, 4)),
        bias=np.zeros(1),
        names=("atrial fibrillation",),
        layer="last",
        kind="binary",
        centre=np.zeros(1),
        scale=np.ones(1),
        threshold=np.array([0.5]),
    )
    return page.render(head, timelines, np.array([0.5]), {"Model": "clef-small"})


def explain_page() -> str:
    """Returns the page of an answer of an encoder with random weights."""
    import explained

    from clef_jax.explaining import page

    made = explained.model().explain(
        explained.signal(12), explained.RATE, lead_names=("I", "II"), output="block"
    )
    return page.render(made)


def check_page() -> str:
    """Returns the page of a simulated data set, checked."""
    import rich.console

    from clef_jax import prepare, simulate
    from clef_jax.building import check, check_page
    from clef_jax.data import index

    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        raw, data = pathlib.Path(name, "raw"), pathlib.Path(name, "data")
        simulate.main([f"--out={raw}", "--patients=12", "--defect-rate-multiplier=5"])
        prepare.main(["--dataset=mimic_iv_ecg", f"--source={raw}", f"--data-dir={data}"])
        folder = index.find(data, "mimic_iv_ecg")
        return check_page.render(check.scan(folder, rich.console.Console(quiet=True)))


def about(found: Sequence[Result]) -> dict:
    """Returns what an evaluation says about its models, those that have results."""
    names = dict.fromkeys(result.model for result in found)
    return {
        **ABOUT,
        "models": {name: ABOUT["models"][name] for name in names},
        "costs": {name: ABOUT["costs"][name] for name in names},
    }
