"""Trains a network from scratch on the labels of each task: what a user would do without
pre-training.

All tasks get the same number of epochs, as many as fit in the minutes by the measured speed of this
machine, with the early stopping of fine-tuning.

Shapes: N recordings.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.console

from clef_jax import files, mesh as mesh_lib
from clef_jax.config import COMPILATION_CACHE
from clef_jax.data import index as index_lib
from clef_jax.embedding import encoder as encoder_lib
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.prepared import Embedded
from clef_jax.errors import UserError
from clef_jax.evaluation import finetune, prediction, samples as samples_lib
from clef_jax.evaluation.prediction import NUM_FOLDS, Predictions
from clef_jax.speedrunning import budget, plan_file, score
from clef_jax.speedrunning.panel import LEAD, Panel, PanelTask
from clef_jax.speedrunning.scored_model import Entry
from clef_jax.speedrunning.settings import AUTO, Config

LEARNING_RATE = 1e-3
_TIMED_STEPS, _TIMED_RECORDINGS = 3, 32
_ARRAYS = ("target", "predicted", "decided", "patient", "age_years", "male", "strength")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the networks, as the row keeps them."""

    size: str
    seed: int
    num_epochs: int
    """Largest number of epochs of each network."""
    learning_rate: float = LEARNING_RATE

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def choose(
    panel: Panel, *, size: str, seed: int, minutes: float, console: rich.console.Console
) -> Settings:
    """Returns the settings for which all networks train within the minutes.

    Raises:
        UserError: not even one epoch fits; the message says how many minutes it needs.
    """
    embedder = _network(size, seed)
    train_seconds, forward_seconds, start_seconds = _measure(embedder)
    start, epoch = 0.0, 0.0
    for part in panel.tasks:
        num_fits = NUM_FOLDS if part.cross_validate else 1
        recordings, windows = _counts(part, embedder)
        # A fifth of the training patients, all their windows, is for validation.
        fraction = 1 / finetune.VALIDATION_FOLDS
        start += num_fits * start_seconds
        epoch += num_fits * (
            recordings * _read_seconds(part, embedder)
            + (1 - fraction) * recordings * train_seconds
            + fraction * windows * forward_seconds
        )
    num_epochs = math.floor((60 * minutes - start) / epoch)
    console.print(
        f"One epoch of the networks of all tasks takes {epoch:.0f} s, and compiling them "
        f"{start:.0f} s, by the measured speed."
    )
    if num_epochs < 1:
        raise UserError(
            f"--minutes={minutes:g} does not suffice for one epoch of a network for each task; set "
            f"--minutes to {math.ceil(10 * (start + epoch) / 60) / 10:g} or more.",
            problem="too_few_minutes",
        )
    return Settings(size, seed, min(num_epochs, finetune.Config().max_epochs))


def _network(size: str, seed: int) -> Embedder:
    mesh = mesh_lib.make_mesh(jax.local_devices())
    return encoder_lib.random(size, mesh, seed=seed)


def _measure(embedder: Embedder) -> tuple[float, float, float]:
    """Returns seconds per window in training and without gradient, and to compile both."""
    import optax

    size = finetune.batch_size(finetune.Config(), embedder.mesh)
    tx = optax.adamw(LEARNING_RATE)
    steps = finetune.make_steps(embedder, "binary", tx, size)
    columns = list(embedder.layers.values())[-1]
    head = jnp.zeros((columns.stop - columns.start, 1)), jnp.zeros(1)
    params = finetune.Params(embedder.params, *head)
    params = jax.device_put(params, mesh_lib.everywhere(embedder.mesh))
    num_samples = embedder.recipe.num_samples(embedder.recipe.sample_rate_hz)
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(size, 1, num_samples)).astype(np.float32)
    batch = {"signal_mv": signal, "counts": np.ones(size, np.float32)}
    batch["target"] = np.zeros((size, 1), np.float32)
    on_devices = mesh_lib.to_devices(batch, embedder.mesh)
    state = tx.init(params)

    def train() -> float:
        nonlocal params, state
        start = time.perf_counter()
        params, state, loss = steps.train(params, state, on_devices)
        jax.block_until_ready(loss)
        return time.perf_counter() - start

    def forward() -> float:
        start = time.perf_counter()
        jax.block_until_ready(steps.compute_logits(params, signal_mv=on_devices["signal_mv"]))
        return time.perf_counter() - start

    compiling = train() + forward()
    seconds = [float(np.median([run() for _ in range(_TIMED_STEPS)])) for run in (train, forward)]
    return seconds[0] / size, seconds[1] / size, compiling


def _counts(part: PanelTask, embedder: Embedder) -> tuple[int, int]:
    """Returns the number of recordings of all splits of a task's data set, and of their windows."""
    indices = [index_lib.load(part.folder, name) for name in index_lib.splits(part.folder)]
    window_seconds = embedder.recipe.window_seconds
    windows = [
        np.maximum(1, index.num_samples / index.sample_rate_hz // window_seconds).sum()
        for index in indices
    ]
    return sum(index.num_records for index in indices), int(sum(windows))


def _read_seconds(part: PanelTask, embedder: Embedder) -> float:
    """Returns the seconds to read the windows of a recording, from some recordings of a task."""
    splits = _without_features(part, pathlib.Path())
    count = min(_TIMED_RECORDINGS, next(iter(splits.values())).index.num_records)
    locations = np.stack([np.zeros(count), np.arange(count)], axis=1)
    start = time.perf_counter()
    samples_lib.Samples(splits, embedder).windows(locations)
    return (time.perf_counter() - start) / count


class Networks:
    """Predicts each task of the panel by a network that is trained on its labels alone.

    Predictions are kept in the folder of the run, so that a killed run repeats one task at most.
    """

    def __init__(self, settings: Settings, folder: pathlib.Path):
        self._settings, self._folder = settings, folder

    @property
    def minutes(self) -> float:
        """Minutes of all networks that were trained so far."""
        seconds = [
            json.loads(path.read_text(encoding="utf-8"))["seconds"]
            for path in self._folder.glob("*.json")
        ]
        return sum(seconds) / 60

    @property
    def fingerprint(self) -> str:
        """Identifier of the predictions of all networks, bit for bit."""
        digest = hashlib.sha256()
        for path in sorted(self._folder.glob("*.npz")):
            with np.load(path, allow_pickle=False) as arrays:
                digest.update(path.stem.encode() + arrays["predicted"].tobytes())
        return digest.hexdigest()

    def __call__(self, part: PanelTask, fraction: float, seed: int) -> Predictions:
        """Returns the predictions of a task's test recordings."""
        path = self._folder / f"{part.task.name}.npz"
        about = path.with_suffix(".json")
        if not about.is_file():
            files.make_folder(self._folder)
            start = time.perf_counter()
            made = self._predict(part, fraction, seed)
            seconds = time.perf_counter() - start
            _write(path, about, made, seconds)
        return _read(path, about)

    def _predict(self, part: PanelTask, fraction: float, seed: int) -> Predictions:
        embedder = _network(self._settings.size, self._settings.seed)
        splits = _without_features(part, self._folder)
        rate = self._settings.learning_rate
        config = finetune.Config(
            max_epochs=self._settings.num_epochs, learning_rate=rate, rates=(rate,)
        )
        fit = finetune.make_fit(embedder, splits, config)
        protocol = dataclasses.replace(score.protocol(part, fraction, seed), fit=fit)
        return prediction.predict(part.task, splits, finetune.locations(splits), protocol)


def _without_features(part: PanelTask, cache_dir: pathlib.Path) -> Mapping[str, Embedded]:
    """Returns the splits of a task's data set without features: the network reads the signals."""
    splits = {}
    for name in index_lib.splits(part.folder):
        index = index_lib.load(part.folder, name)
        nothing = np.zeros((index.num_records, 0), np.float32)
        splits[name] = Embedded(index, LEAD, nothing, cache_dir, float("nan"))
    return splits


def _write(path: pathlib.Path, about: pathlib.Path, made: Predictions, seconds: float) -> None:
    """Writes predictions, and then the file that marks them as complete."""
    arrays = {name: getattr(made, name) for name in _ARRAYS}
    with files.atomic_file(path) as half, half.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    facts = {name: getattr(made, name) for name in _FACTS}
    files.write_text(about, json.dumps({**facts, "seconds": seconds}))


_FACTS = ("outputs", "layer", "num_train", "cross_validated", "num_excluded")


def _read(path: pathlib.Path, about: pathlib.Path) -> Predictions:
    facts = json.loads(about.read_text(encoding="utf-8"))
    stored: dict[str, Any] = {name: facts[name] for name in _FACTS}
    stored["outputs"] = tuple(facts["outputs"])
    with np.load(path, allow_pickle=False) as arrays:
        stored |= {name: arrays[name] for name in _ARRAYS}
    return Predictions(**stored)


def run(config: Config, panel: Panel, console: rich.console.Console) -> Entry:
    """Trains a network for each task within the minutes, and scores them.

    Raises:
        UserError: the size is unknown, or the minutes do not suffice.
    """
    plan = plan_file.read(config)
    if plan:
        plan_file.refuse_changes(config, plan)
        chosen = Settings(**plan["settings"])
    else:
        size = budget.SIZES[0] if config.size == AUTO else config.size
        chosen = choose(panel, size=size, seed=config.seed, minutes=config.minutes, console=console)
        plan = plan_file.write(config, chosen.to_json(), None)
    return score_networks(chosen, plan["token"], config, panel, console)


def score_networks(
    chosen: Settings, identity: str, config: Config, panel: Panel, console: rich.console.Console
) -> Entry:
    """Trains the networks that are not trained yet, and scores them."""
    # The networks of several folds compile the same steps.
    if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        cache = pathlib.Path(COMPILATION_CACHE).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(cache))
    networks = Networks(chosen, config.folder / "networks")
    scores = score.compute(
        networks, panel, console, num_resamples=config.num_resamples, with_few_labels=False
    )
    facts = {
        "kind": "supervised",
        "fingerprint": networks.fingerprint,
        "settings": chosen.to_json(),
        "measured": None,
        "training_data": dict(panel.fingerprints),
        "risk": None,
    }
    return Entry(identity, facts, scores, networks.minutes)
