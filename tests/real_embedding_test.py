"""Real recordings are embedded whatever their form, and alike wherever the model runs."""

import dataclasses
import json
import pathlib
import shutil
import sys

import head_examples
import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from clef_jax import embed, formats, mesh as mesh_lib
from clef_jax.convert import onnx_file, pytorch_encoder, stablehlo
from clef_jax.embedding import encoder as encoder_lib, pretrained
from clef_jax.finding import Defect
from clef_jax.leads import STANDARD_12
from clef_jax.signal import reference

FILES = pathlib.Path(__file__).parents[2] / "shared" / "data" / "original_files"
pytestmark = [
    pytest.mark.skipif(
        not FILES.is_dir(), reason="there are no real recordings beside the project"
    ),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.* windows are flat"),  # some real leads are
]
NO_RATE = {"cinc2011/1002867.txt", "code15/labels/y.npy"}
"""What does not say how often it was sampled."""


@pytest.fixture(scope="module")
def model():
    mesh = mesh_lib.make_mesh(jax.local_devices())
    encoder = encoder_lib.random("small", mesh, seed=0)
    layer, part = list(encoder.layers.items())[-1]
    weight = np.random.default_rng(0).normal(size=(2, part.stop - part.start))
    head = dataclasses.replace(head_examples.PLATT, layer=layer, weight=weight)
    return pretrained.Pretrained(encoder, head)


def read(seconds=10.0):
    """Name, rate and millivolts [L, T] of the beginning of every recording that has a unit."""
    for path in formats.find(FILES):
        try:
            for one in formats.open(path):
                wanted = round(seconds * one.sample_rate_hz)
                if one.unit_known and one.num_samples >= wanted:
                    yield one.name, one.sample_rate_hz, one.read(0, wanted)
        except Defect:
            assert str(path.relative_to(FILES)) in NO_RATE


def test_every_file_is_embedded_or_named(model, tmp_path):
    folder, out = model.save(tmp_path / "model"), tmp_path / "out.parquet"
    config = embed.Config(model=str(folder), input=(str(FILES),), out=str(out))
    assert embed.run(config) == embed.SKIPPED
    found = pq.read_table(out)
    embedded = {name.partition("#")[0] for name in found["recording"].to_pylist()}
    lines = [json.loads(line) for line in config.report.read_text().splitlines()]
    left_out = {one["record_id"] for one in lines if one["action"] == "quarantined"}
    headers = {str(path.relative_to(FILES)) for path in FILES.rglob("*.hea")}
    bare = {str(path.relative_to(FILES)) for path in (FILES / "code15").glob("*.mat")}
    dicom = {str(path.relative_to(FILES)) for path in FILES.rglob("*.dcm")}
    hospital = {str(path.relative_to(FILES)) for path in (FILES / "hospital").glob("*[!d]")}
    assert embedded == headers | bare | dicom | hospital
    assert left_out == NO_RATE
    assert np.isfinite(np.stack(found["embedding"].to_numpy(zero_copy_only=False))).all()


def test_what_a_file_does_not_say_can_be_said(model, tmp_path):
    folder, out = model.save(tmp_path / "model"), tmp_path / "out.parquet"
    config = embed.Config(
        model=str(folder),
        input=(str(FILES / "cinc2011" / "1002867.txt"),),
        out=str(out),
        sample_rate_hz=500.0,
        lead_names=STANDARD_12,
        gain_per_mv=200.0,
    )
    assert embed.run(config) == 0
    found = pq.read_table(out)
    assert tuple(found["lead"].to_pylist()) == STANDARD_12
    assert all(found["usable"].to_pylist())


def test_one_recording_is_embedded_alike_in_every_form(model):
    checked = 0
    for _, rate, signal_mv in read():
        if rate != 500 or len(signal_mv) != 12 or not np.isfinite(signal_mv).all():
            continue
        forms = [model.embed(signal_mv, rate, lead="I"), model.embed(signal_mv[0], rate)]
        for other in (100, 250, 360, 500):
            x = reference.resample(signal_mv[0], rate, other)
            adc = np.rint(1000 * x + 17).astype(np.int16)
            forms += [model.embed(x, other), model.embed(adc, other)]
        unit = np.stack(forms) / np.linalg.norm(forms, axis=1, keepdims=True)
        assert (unit @ unit.T).min() > 0.99
        checked += 1
    assert checked >= 10


@pytest.fixture(scope="module")
def by_rate():
    """Windows [B, T] in millivolts by sampling rate, as they were recorded, gaps and all."""
    found = {}
    for _, rate, signal_mv in read():
        found.setdefault(rate, []).extend(signal_mv)
    windows = {rate: np.stack(rows)[::3] for rate, rows in found.items()}
    assert len(windows) >= 4
    return windows


def assert_answers(model, windows, rate, got):
    """Asserts that answers are those of the model, where it gives any."""
    want = model.predict(windows, rate)
    assert want.usable.sum() > 0.5 * len(windows)
    got = np.asarray(got)[want.usable]
    np.testing.assert_allclose(got, want.probabilities[want.usable], atol=1e-5)


def test_stablehlo_agrees_from_raw_signal_to_embedding(model, by_rate, tmp_path):
    for rate, windows in by_rate.items():
        path = tmp_path / f"{rate:g}.stablehlo"
        stablehlo.write(model.embedder, path, sample_rate_hz=rate, head=model.head)
        got = stablehlo.load(path)(windows)
        np.testing.assert_allclose(got["embedding"], model.embed(windows, rate), atol=1e-5)
        assert_answers(model, windows, rate, got["probabilities"])


def test_onnx_agrees_from_raw_signal_to_embedding(model, by_rate, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    for rate, windows in by_rate.items():
        path = tmp_path / f"{rate:g}.onnx"
        onnx_file.write(model.embedder, path, sample_rate_hz=rate, head=model.head)
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        given = {"signal_mv": windows.astype(np.float32)}
        got, answers = session.run(["embedding", "probabilities"], given)
        np.testing.assert_allclose(got, model.embed(windows, rate), atol=1e-5)
        assert_answers(model, windows, rate, answers)


def test_pytorch_alone_agrees_from_raw_signal_to_embedding(model, by_rate, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    folder = model.save(tmp_path / "model")
    shutil.copy(pytorch_encoder.__file__, tmp_path / "alone.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    import alone  # pyright: ignore[reportMissingImports]

    assert pathlib.Path(sys.modules["alone"].__file__).parent == tmp_path
    network = alone.load(folder)
    for rate, windows in by_rate.items():
        got = alone.embed(network, windows, rate).numpy()
        np.testing.assert_allclose(got, model.embed(windows, rate), atol=1e-5)
        answers = alone.predict(network, windows, rate).probabilities.numpy()
        assert_answers(model, windows, rate, answers)
