"""The attention probe pools the time steps of a frozen stage by learned queries."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import assert_names, refuses
from prepared import build

from clef_jax import evaluate, mesh as mesh_lib
from clef_jax.building import catalog
from clef_jax.data import index as index_lib
from clef_jax.embedding import encoder as encoder_lib, inputs, prepared, pretrained
from clef_jax.embedding.recipe import Recipe
from clef_jax.evaluation import attention, time_steps
from clef_jax.evaluation.examples import Examples
from clef_jax.evaluation.time_steps import TimeSteps
from clef_jax.simulation import simulated_ecg

pytestmark = pytest.mark.usefixtures("quick_compiler")


def make(num, seed, num_steps=12, num_features=6):
    """Time steps in which one, wherever it is, holds the target; their mean hardly does."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(num, num_steps, num_features)).astype(np.float32)
    target = rng.integers(0, 2, num)
    where = rng.integers(0, num_steps, num)
    steps[np.arange(num), where, 0] = 6
    steps[np.arange(num), where, 5] = 3 * (2 * target - 1)
    stored = TimeSteps(steps, np.arange(num + 1), np.ones(num, bool))
    return stored, target[:, None].astype(float)


def examples(target, split):
    places = np.stack([np.full(len(target), split), np.arange(len(target))], axis=1)
    return Examples(places.astype(np.float32), target, np.arange(len(target)))


def test_attention_finds_the_step_that_matters():
    parts = [make(num, seed) for seed, num in enumerate((600, 200, 200))]
    config = attention.Config(learning_rate=2e-2)
    fit = attention.make_fit([stored for stored, _ in parts], config)
    train, validation, test = (examples(t, n) for n, (_, t) in enumerate(parts))
    found = fit("binary", train, validation, seed=3)
    accuracy = ((found(test.features) > 0.5) == test.target).mean()
    means = parts[2][0].steps.mean(axis=1)[:, 5]
    of_means = max(((means > 0) == test.target[:, 0]).mean(), 0.5)
    assert accuracy > 0.95
    assert accuracy > of_means + 0.05
    again = fit("binary", train, validation, seed=3)
    np.testing.assert_array_equal(again(test.features), found(test.features))


def test_training_stops_without_improvement():
    stored, target = make(100, 0)
    random = np.random.default_rng(0).permutation(target)
    fit = attention.make_fit([stored], attention.Config(patience_epochs=1, min_improvement=10.0))
    found = fit("binary", examples(random, 0), examples(random, 0))
    assert found.num_epochs == 1
    assert np.isnan(found.strength).all()


@pytest.mark.parametrize("kind", ["regression", "multiclass", "multilabel"])
def test_every_kind_of_task_is_fitted_without_validation_patients(kind):
    stored, target = make(120, 0)
    target = np.concatenate([target, 1 - target], axis=1)
    target = target * 40 + 100 if kind == "regression" else target
    fit = attention.make_fit([stored], attention.Config(max_epochs=3))
    found = fit(kind, examples(target, 0))(examples(target, 0).features)
    assert found.shape == (120, 2)
    if kind == "regression":
        assert 90 < found.mean() < 150
    else:
        assert ((found >= 0) & (found <= 1)).all()
    if kind == "multiclass":
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


def test_queries_of_zero_are_the_mean():
    rng = np.random.default_rng(0)
    steps, weight = rng.normal(size=(3, 5, 7)), rng.normal(size=(7, 2))
    params = attention.Params(jnp.zeros((4, 7)), jnp.asarray(weight), jnp.ones(2))
    found = attention.outputs(params, jnp.asarray(steps))
    np.testing.assert_allclose(found, steps.mean(axis=1) @ weight + 1, rtol=1e-4, atol=1e-5)


def test_each_query_pools_its_features_by_the_formula():
    rng = np.random.default_rng(1)
    steps, query, weight = (rng.normal(size=s) for s in ((3, 5, 6), (2, 6), (6, 2)))
    params = attention.Params(*map(jnp.asarray, (query, weight, np.zeros(2))))
    pooled = np.zeros((3, 6))
    for number in range(3):
        for column in range(6):
            scores = steps[number] @ query[column // 3] / np.sqrt(6)
            share = np.exp(scores) / np.exp(scores).sum()
            pooled[number, column] = share @ steps[number, :, column]
    found = attention.outputs(params, jnp.asarray(steps))
    np.testing.assert_allclose(found, pooled @ weight, rtol=1e-4, atol=1e-5)


def test_only_usable_windows_are_used():
    """A recording of three windows, the second of which is not usable, and one without any."""
    steps = np.arange(4 * 2 * 3, dtype=np.float32).reshape(4, 2, 3)
    stored = TimeSteps(steps, np.array([0, 3, 4]), np.array([True, False, True, False]))
    windows = attention.Windows([stored], np.array([[0, 0], [0, 1]], np.float32), 8)
    assert windows.of(np.array([[0, 0], [0, 1]])) == [[(0, 0), (0, 2)], [(0, 3)]]
    params = attention.Params(jnp.zeros((1, 3)), jnp.eye(3), jnp.zeros(3))
    used = steps[[0, 2, 3]].reshape(-1, 3)
    scaled = (steps - used.mean(axis=0)) / used.std(axis=0)
    want = [scaled[[0, 2]].mean(axis=(0, 1)), scaled[3].mean(axis=0)]
    found = windows.logits(params, np.array([[0, 0], [0, 1]]))
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)


def test_many_steps_are_averaged_with_their_neighbours():
    steps = np.arange(2 * 325 * 2, dtype=np.float32).reshape(2, 325, 2)
    found = time_steps.fewer(steps)
    assert found.shape == (2, 109, 2)
    np.testing.assert_allclose(found[:, 0], steps[:, :3].mean(axis=1))
    np.testing.assert_allclose(found[:, -1], steps[:, 324:].mean(axis=1))
    assert time_steps.fewer(steps[:, :160]) is not None
    np.testing.assert_array_equal(time_steps.fewer(steps[:, :160]), steps[:, :160])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attention")
    tree = catalog.simulated("cinc2017").write(folder / "source", 30)
    build("cinc2017", tree.source, folder / "data")
    return folder / "data"


def test_time_steps_are_those_of_the_stage_and_cached(data, tmp_path, monkeypatch):
    """Their mean over time and windows is the embedding of the recording."""
    mesh = mesh_lib.make_mesh(jax.devices()[:2])
    recipe = Recipe(window_seconds=2.0)
    encoder = encoder_lib.random("tiny", mesh, seed=0, recipe=recipe)
    index = index_lib.load(index_lib.find(data, "cinc2017"), "train")
    embedded = prepared.embed(encoder, index, "I", tmp_path)
    for layer in ("last", "stage_2"):
        found = time_steps.embed(encoder, index, "I", layer, tmp_path)
        columns = encoder_lib.layer_slice(encoder, layer)
        for position in np.flatnonzero(embedded.usable):
            first, end = found.first[position : position + 2]
            numbers = np.arange(first, end)
            usable = numbers[found.usable[numbers]] if found.usable[numbers].any() else numbers
            mean = found.steps[usable].mean(axis=(0, 1))
            np.testing.assert_allclose(
                mean, embedded.features[position, columns], rtol=1e-4, atol=1e-5
            )
    monkeypatch.setattr(inputs, "stored", None)
    again = time_steps.embed(encoder, index, "I", "stage_2", tmp_path)
    np.testing.assert_array_equal(again.steps, found.steps)


def test_it_stands_beside_the_linear_probe_and_is_refused_by_name(data, tmp_path, capsys):
    flags = [f"--data-dir={data}", f"--out={tmp_path}", "--size=tiny", "--num-resamples=100"]
    flags += ["--tasks=cinc2017_af", "--cross-validate", "--random-encoders=1"]
    flags.append("--keep-heads")
    evaluate.main([*flags, "--probes=linear,attention", "--baselines=untrained,classical"])
    kept = tmp_path / "heads" / "cinc2017_af"
    for method in ("linear", "attention"):
        loaded = pretrained.load(kept / method / "random_tiny_seed_0")
        assert loaded.head.is_linear == (method == "linear")
        assert loaded.head.calibration is not None
        signal_mv = simulated_ecg.make(0, ("I",), sample_rate_hz=300, num_samples=3000)[0]
        answers = loaded.predict(signal_mv, 300)
        assert 0 < answers.probabilities[0] < 1
        assert answers.decisions[0] in (0, 1)
    assert_names(capsys.readouterr().out, "rhythm and spectrum", "time steps")
    found = json.loads((tmp_path / "results.json").read_text())
    rows = {(line["model"], line["method"]) for line in found["results"]}
    untrained = "random tiny, seed 0"
    assert {(untrained, method) for method in ("linear", "attention")} <= rows
    assert ("rhythm and spectrum", "attention") not in rows
    row = f"{untrained}, attention"
    assert row in {line["second"] for line in found["comparisons"]}
    page = (tmp_path / "report.html").read_text()
    assert_names(page, row, "no attention probe")
    with refuses("rhythm and spectrum", problem="no_time_steps"):
        from clef_jax.evaluation import run
        from clef_jax.evaluation.settings import Config

        config = Config(
            data_dir=str(data),
            out=str(tmp_path),
            tasks="cinc2017_af",
            probes="attention",
            compare=("classical",),
            baselines="none",
        )
        run.run(config)
