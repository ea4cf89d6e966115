"""Evaluation and embedding encode the same windows in the same way, at any rate."""

import contextlib

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from any_rate_dataset import GAIN_PER_MV, build, ecg

from clef_jax import embed as embed_command, mesh as mesh_lib
from clef_jax.convert import stablehlo
from clef_jax.embedding import batch, encoder as encoder_lib, inputs, prepared, pretrained
from clef_jax.evaluation import finetune, space

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])
RATES_HZ = (62.4725, 130.2, 249.89, 256.41, 333.33, 500.0)


@pytest.fixture(scope="module")
def model():
    return pretrained.Pretrained(encoder_lib.random("tiny", ONE, seed=0))


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Recordings at every rate, and one of 36 seconds of which six are flat."""
    recordings = {f"rate{n}": (ecg(n, 10, rate), rate) for n, rate in enumerate(RATES_HZ)}
    partly_flat = ecg(20, 36, 500.0)
    partly_flat[:, 12 * 500 : 18 * 500] = 3
    recordings["partly_flat"] = (partly_flat, 500.0)
    recordings["short"] = (ecg(21, 7, 250.0), 250.0)
    recordings["long"] = (ecg(22, 47, 333.33), 333.33)
    return build(tmp_path_factory.mktemp("any_rate"), recordings)


@pytest.fixture(scope="module")
def shipped(model, index, tmp_path_factory):
    """The embeddings that `embed` writes, by record."""
    folder = tmp_path_factory.mktemp("shipped")
    model.save(folder / "model")
    out = folder / "table.parquet"
    with pytest.raises(SystemExit) as ended:
        embed_command.main(
            [
                f"--model={folder / 'model'}",
                f"--input={index.version_dir}",
                f"--out={out}",
                "--layer=all",
            ]
        )
    assert ended.value.code == 0
    table = pq.read_table(out).to_pydict()
    names = [name.removeprefix("train/") for name in table["recording"]]
    return dict(zip(names, map(np.array, table["embedding"]), strict=True))


def names_of(index):
    return [facts["record_id"].decode() for facts in prepared.metadata.load(index)]


def warned(words, expected):
    return pytest.warns(UserWarning, match=words) if expected else contextlib.nullcontext()


def signal_mv(index, name):
    (opened,) = inputs.stored(index, np.array([names_of(index).index(name)]))
    return opened.read(0, opened.num_samples)[0], opened.sample_rate_hz


def test_evaluated_features_are_the_shipped_ones_to_the_bit(model, index, shipped, tmp_path):
    embedded = prepared.embed(model.embedder, index, "I", tmp_path)
    assert embedded.usable.all()
    assert len(shipped) == index.num_records == 9
    for name, features in zip(names_of(index), embedded.features, strict=True):
        np.testing.assert_array_equal(features, shipped[name].astype(np.float32), err_msg=name)


def test_an_array_has_the_same_embedding(model, index, shipped):
    for name, want in shipped.items():
        signal, rate_hz = signal_mv(index, name)
        with (
            warned("flat", name == "partly_flat"),
            warned("shorter", len(signal) < round(10 * rate_hz)),
            warned("100 Hz", rate_hz < 100),
        ):
            got = model.embed(signal, rate_hz, layer="all")
        np.testing.assert_allclose(got, want, atol=1e-6, err_msg=name)


def test_geometry_measures_the_shipped_embeddings(model, index, shipped):
    chosen = [("train", row) for row in range(index.num_records)]
    everything = slice(0, model.embedder.num_features)
    got = space._embed(model.embedder, everything, {"train": index}, chosen, "I")
    for name, features in zip(names_of(index), got, strict=True):
        want = shipped[name] / np.linalg.norm(shipped[name])
        np.testing.assert_allclose(features, want, atol=1e-6, err_msg=name)


def test_a_fine_tuned_head_reads_the_shipped_embeddings(model, index, shipped, tmp_path):
    """Before the first step the encoder is the pre-trained one, so a head of ours must answer as it
    does on the embeddings."""
    splits = {"train": prepared.embed(model.embedder, index, "I", tmp_path)}
    samples = finetune.Samples(splits, model.embedder)
    steps = finetune.make_steps(
        model.embedder, "regression", finetune._optimizer(finetune.Config(), 1), 4
    )
    last = model.part("last")
    weight = np.random.default_rng(0).normal(size=(last.stop - last.start, 2)).astype(np.float32)
    params = finetune._initial_params(model.embedder, 2)._replace(weight=jax.numpy.asarray(weight))
    places = next(iter(finetune.locations(splits).values()))(splits["train"])
    outputs = finetune._logits(steps, params, samples, places)
    for name, output in zip(names_of(index), outputs, strict=True):
        want = shipped[name][last] @ weight
        np.testing.assert_allclose(output, want, atol=1e-5 * np.abs(weight).sum(0).max())


def test_flat_seconds_do_not_dilute_an_embedding(model, index):
    signal, rate_hz = signal_mv(index, "partly_flat")
    windows = model.windows(signal, rate_hz)
    assert windows.quality.usable.tolist() == [True, False, True, True]
    want = windows.features[[0, 2, 3]].mean(axis=0)
    with pytest.warns(UserWarning, match="flat"):
        np.testing.assert_allclose(model.embed(signal, rate_hz), want, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [62.4725, 256.41, 333.33])
def test_exported_files_agree_at_fractional_rates(rate_hz, model, tmp_path):
    pytest.importorskip("torch")
    from clef_jax.convert import onnx_file, onnx_session, pytorch_encoder

    model.save(tmp_path / "model")
    standalone = pytorch_encoder.load(tmp_path / "model")
    onnx_file.write(model.embedder, tmp_path / "m.onnx", sample_rate_hz=rate_hz)
    stablehlo.write(
        model.embedder, tmp_path / "m.stablehlo", sample_rate_hz=rate_hz, platforms=["cpu"]
    )
    signal = ((ecg(3, 10, rate_hz) + 7) / GAIN_PER_MV).astype(np.float32)
    signal[0, 40:60] = np.nan
    with warned("100 Hz", rate_hz < 100):
        want = model.embed(signal[0], rate_hz)
    got = {
        "onnx": onnx_session.session(tmp_path / "m.onnx").run(None, {"signal_mv": signal})[0][0],
        "stablehlo": np.asarray(stablehlo.load(tmp_path / "m.stablehlo")(signal))[0],
        "torch": pytorch_encoder.embed(standalone, signal, rate_hz).numpy()[0],
    }
    for name, features in got.items():
        np.testing.assert_allclose(features, want, atol=1e-5, err_msg=name)


def test_the_mean_is_over_usable_windows_or_all():
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(batch.mean(features, np.array([True, False, True])), [2, 3])
    np.testing.assert_array_equal(batch.mean(features, np.zeros(3, bool)), [2, 3])
    np.testing.assert_array_equal(batch.mean(features, np.array([False, True, False])), [2, 3])
    np.testing.assert_array_equal(batch.mean(features, np.array([True, True, False])), [1, 2])


def test_batches_take_the_smallest_size_that_fits(model):
    windows = np.random.default_rng(0).normal(size=(11, 1, 5000)).astype(np.float32)
    sizes = []

    class Counting:
        mesh = ONE

        def __call__(self, signal_mv, sample_rate_hz):
            sizes.append(len(signal_mv))
            return signal_mv[:, 0, :3]

    got = batch.encode(Counting(), windows, 500.0, (1, 8))
    assert sizes == [8, 8]
    np.testing.assert_array_equal(got, windows[:, 0, :3])
