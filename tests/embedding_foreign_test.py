"""A published encoder is a model like ours: preprocessing, leads, files and folders."""

import dataclasses
import json

import jax
import numpy as np
import published_baseline as toy
import pytest
from culprits import refuses

import clef_jax
from clef_jax import embed, leads, mesh as mesh_lib, signal as signal_lib
from clef_jax.convert import safetensors_file
from clef_jax.embedding import (
    encoder as encoder_lib,
    folder as model_folder,
    foreign,
    foreign_folder,
    pretrained,
    weight_file,
)

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture(autouse=True)
def baseline(tmp_path_factory, monkeypatch):
    toy.register(tmp_path_factory.mktemp("packages"), monkeypatch)


def make(variant=None, mesh=ONE):
    return foreign.untrained("toy", mesh, seed=1, variant=variant)


def windows(model, num_leads=12, batch=4):
    count = model.recipe.num_samples(model.recipe.sample_rate_hz)
    return np.random.default_rng(0).normal(0.3, 1, (batch, num_leads, count)).astype(np.float32)


def formula(signal, network):
    """The layers of the toy network for its input, float64 [B, T, C]."""
    weight, bias = np.asarray(network["toy.weight"], float), np.asarray(network["toy.bias"], float)
    mixed = signal @ weight.T + bias - np.asarray(network["toy.norm.running_mean"], float)
    rectified = np.maximum(mixed, 0)
    return np.concatenate([rectified.mean(1), (rectified**2).mean(1)], axis=1)


def assert_close(got, want):
    np.testing.assert_allclose(np.asarray(got), want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_each_variant_feeds_the_network_as_it_says():
    model = make()
    signal_mv = windows(model)
    scaled = signal_mv.astype(float)
    scaled -= scaled.mean((1, 2), keepdims=True)
    scaled /= scaled.std((1, 2), keepdims=True)
    want = formula(scaled.swapaxes(1, 2), model.network)
    assert_close(model(signal_mv, 100.0), want)
    halves = make("halves")
    signal_mv = windows(halves)
    views = [2.0 * signal_mv[..., :200], 2.0 * signal_mv[..., 200:]]
    both = [formula(view.swapaxes(1, 2).astype(float), halves.network) for view in views]
    assert_close(halves(signal_mv, 100.0), np.mean(both, axis=0))
    reference = make("as_reference")
    signal_mv = windows(reference)
    flat = signal_mv.reshape(-1, 5000).astype(float)
    prepared = signal_lib.zscore(signal_lib.bandpass(flat, 500.0)).reshape(signal_mv.shape)
    want = formula(prepared[..., :4000].swapaxes(1, 2), reference.network)
    assert_close(reference(signal_mv, 500.0), want)


def test_layers_costs_and_identity():
    model = make()
    assert model.layers == {"wide": slice(0, 3), "last": slice(3, 6)}
    assert (model.num_features, model.in_channels, model.costs["parameters"]) == (6, 12, 39)
    assert model.costs["flops"] > 2 * 3 * 12 * 200
    assert make("halves").name == f"{model.name}, halves" == "untrained:toy, seed 1, halves"
    others = (make("halves"), make().for_lead("I"), dataclasses.replace(model, statistics=(0, 1)))
    prints = {other.fingerprint for other in (model, *others)}
    assert len(prints) == 4
    assert make().fingerprint == model.fingerprint


def test_the_statistics_of_training_patients_replace_those_of_a_window():
    model = dataclasses.replace(make(), statistics=(0.25, 2.0))
    signal_mv = windows(model)
    want = formula((signal_mv.swapaxes(1, 2).astype(float) - 0.25) / 2, model.network)
    assert_close(model(signal_mv, 100.0), want)


@pytest.mark.parametrize("variant", [None, "halves", "padded"])
def test_time_steps_of_all_views_have_the_features_as_their_mean(variant):
    model = make(variant)
    signal_mv, rate_hz = windows(model), model.recipe.sample_rate_hz
    features = np.asarray(model(signal_mv, rate_hz))
    for layer, part in (("wide", slice(0, 3)), ("last", slice(3, 6))):
        steps = np.asarray(model.time_steps(signal_mv, rate_hz, layer))
        assert steps.shape == (4, signal_mv.shape[-1], 3)
        assert_close(steps.mean(1), features[:, part])
    with refuses("'low'", "wide"):
        model.time_steps(signal_mv, rate_hz, "low")


def test_flat_and_missing_windows_have_finite_features():
    for variant in toy.PUBLISHED.variants:
        model = make(variant)
        signal_mv = windows(model)
        signal_mv[0], signal_mv[1], signal_mv[2, :, :50] = 1.0, np.nan, np.nan
        assert np.isfinite(model(signal_mv, model.recipe.sample_rate_hz)).all()


def test_a_stream_takes_all_leads_or_one_by_its_name(tmp_path):
    loaded = pretrained.load(saved_file(tmp_path), ONE)
    signal = np.random.default_rng(1).standard_normal((12, 400))
    all_leads = loaded.stream(100.0).push(signal)
    assert_close([x.embedding for x in all_leads], loaded.windows(signal, 100.0).features)
    one = loaded.stream(100.0, lead="aVL").push(signal[4])
    want = pretrained.Pretrained(loaded.embedder.for_lead("aVL")).windows(signal[4], 100.0)
    assert_close([x.embedding for x in one], want.features)


def test_several_devices_compute_what_one_does():
    model, many = make("halves"), make("halves", mesh_lib.make_mesh(jax.devices()[:4]))
    signal_mv = windows(model, batch=8)
    assert_close(many(signal_mv, 100.0), np.asarray(model(signal_mv, 100.0)))


def test_one_lead_is_taken_by_its_name(tmp_path):
    loaded = pretrained.load(saved_file(tmp_path), ONE)
    signal = np.random.default_rng(1).standard_normal((12, 400))
    names = [*leads.STANDARD_12[:4], "aVF", "aVL", *leads.STANDARD_12[6:]]
    got = loaded.embed(signal, 100.0, lead="aVL", lead_names=names)
    alone = loaded.embedder.for_lead("avl")
    assert (alone.in_channels, alone.lead) == (1, "aVL")
    want = np.mean([alone(signal[None, 5:6, at : at + 200], 100.0)[0, 3:] for at in (0, 200)], 0)
    assert_close(got, want)
    assert_close(loaded.embed(signal, 100.0, lead=5, lead_names=names), want)
    all_leads = signal[[names.index(name) for name in leads.STANDARD_12]]
    want = loaded.embed(all_leads, 100.0, lead_names=leads.STANDARD_12)
    assert_close(loaded.embed(signal, 100.0, lead_names=names), want)
    with refuses("5", problem="unnamed_lead"):
        loaded.embed(signal, 100.0, lead=5)
    with refuses("MLX", problem="unknown_lead"):
        make().for_lead("MLX")


@pytest.mark.filterwarnings("ignore:The signal is shorter")
def test_short_recordings_are_padded_by_samples_that_the_network_ignores(tmp_path):
    loaded = clef_jax.load(saved_file(tmp_path), variant="padded")
    signal = np.random.default_rng(2).standard_normal((12, 250)).astype(np.float32)
    network = loaded.embedder.network
    want = formula(signal.T[None].astype(float), network)[0, 3:]
    assert_close(loaded.embed(signal, 100.0, lead_names=leads.STANDARD_12), want)
    # At another rate, the padding stays what it is.
    twice = np.repeat(signal, 2, axis=1)
    padded = loaded.windows(twice, 200.0)
    assert np.isfinite(padded.features).all()
    assert padded.quality.flags == ("short",)


def saved_file(folder, name="toy.safetensors", model=None):
    arrays = toy.PUBLISHED.to_torch((model or make()).network)
    safetensors_file.write_safetensors(folder / name, arrays, {})
    return folder / name


def test_files_are_recognised_in_any_nesting(tmp_path):
    torch = pytest.importorskip("torch")
    want = make()
    arrays = toy.PUBLISHED.to_torch(want.network)
    tensors = {f"module.{key}": torch.tensor(value) for key, value in arrays.items()}
    path = tmp_path / "toy.pth"
    torch.save({"epoch": 3, "optimizer": {"step": torch.ones(2)}, "net": {"in": tensors}}, path)
    found = weight_file.read(path, ONE)
    assert (found.model.name, found.model.key, found.head) == ("toy", "toy", None)
    assert found.model.fingerprint == want.fingerprint
    assert "0" * 64 in found.notes[0]
    del tensors["module.toy.bias"]
    torch.save({"net": tensors}, path)
    with refuses("toy.bias", "missing", problem="wrong_weights"):
        weight_file.read(path, ONE)


def test_an_unknown_variant_is_refused(tmp_path):
    with refuses("'halfs'", "'halves'", problem="unknown_variant"):
        clef_jax.load(saved_file(tmp_path), variant="halfs")
    ours = model_folder.save(encoder_lib.random("tiny", ONE, seed=0), tmp_path / "ours")
    with refuses("--variant=halves", ours, problem="unknown_variant"):
        clef_jax.load(ours, variant="halves")
    with refuses("'toys'", "'toy'", problem="unknown_encoder"):
        foreign.untrained("toys", ONE, seed=0)


def test_a_model_folder_keeps_weights_lead_variant_and_statistics(tmp_path):
    model = dataclasses.replace(make("halves").for_lead("V2"), statistics=(0.5, 1.5))
    folder = foreign_folder.save(model, tmp_path / "folder")
    again = clef_jax.load(folder)
    assert again.embedder.fingerprint == model.fingerprint
    assert (again.embedder.lead, again.embedder.statistics) == ("V2", (0.5, 1.5))
    assert again.embedder.variant_name == "halves"
    signal = np.random.default_rng(0).standard_normal((3, 500))
    other = clef_jax.load(folder, variant="padded")
    assert other.embedder.variant_name == "padded"
    assert other.save(tmp_path / "again").is_dir()
    assert again.embed(signal, 100.0).shape == (3, 3)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "lead": "V3", "statistics": [0, 1]}))
    with refuses(folder, problem="other_fingerprint"):
        clef_jax.load(folder)
    (folder / "config.json").write_text(json.dumps({**config, "statistics": "x"}))
    with refuses("'x'", problem="wrong_statistics"):
        clef_jax.load(folder)


def test_recordings_are_embedded_from_the_command_line(tmp_path, capsys):
    path = saved_file(tmp_path)
    signal = np.random.default_rng(4).standard_normal((12, 500)).astype(np.float32)
    np.save(tmp_path / "a.npy", signal)
    options = ["--sample-rate-hz=100", "--unit=mV", "--lead-names", *leads.STANDARD_12]
    given = [f"--model={path}", f"--input={tmp_path / 'a.npy'}", *options]
    for out, more in (("all.npz", []), ("one.npz", ["--lead", "V4", "--variant=halves"])):
        with pytest.raises(SystemExit) as ended:
            embed.main([*given, f"--out={tmp_path / out}", *more])
        assert ended.value.code == 0
    loaded = {name: np.load(tmp_path / f"{name}.npz")["embedding"] for name in ("all", "one")}
    assert_close(
        loaded["all"][0], clef_jax.load(path).embed(signal, 100.0, lead_names=leads.STANDARD_12)
    )
    halves = clef_jax.load(path, variant="halves")
    assert_close(loaded["one"][0], halves.embed(signal[9], 100.0, lead="V4"))
    with refuses("V4 and V5", problem="several_networks"):
        clef_jax.load(path).for_leads(["V4", "V5"])
