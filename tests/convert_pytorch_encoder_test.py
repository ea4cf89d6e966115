"""The standalone PyTorch module needs no clef_jax, computes the same, and can be trained."""

import ast
import dataclasses
import inspect
import json
import pathlib
import subprocess
import sys
import textwrap

import crc_weight
import head_examples
import jax
import numpy as np
import pytest
import whole_network
from culprits import refuses
from flax import nnx

from clef_jax import convert, mesh as mesh_lib
from clef_jax.answers import answer as answer_lib
from clef_jax.convert import exported_head, torch_file
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder
from clef_jax.embedding.recipe import Recipe
from clef_jax.models import create_encoder
from clef_jax.signal import adc as adc_lib, reference
from clef_jax.wfdb import record as wfdb_record

torch = pytest.importorskip("torch")
pytorch_encoder = pytest.importorskip("clef_jax.convert.pytorch_encoder")

RECORDS = pathlib.Path(__file__).parents[2] / "shared" / "data" / "original_files"
PREPROCESSING = {"sample_rate_hz": 500.0, "band_hz": [0.67, 40.0], "zscored": True}


def write_folder(folder, encoder, recipe=None):
    """What a model folder holds of weights, shape and preprocessing."""
    folder.mkdir(exist_ok=True)
    arrays = convert.to_torch(encoder, norms=False)
    torch_file.write_safetensors(folder / "model.safetensors", arrays, {})
    config = {
        "in_channels": encoder.in_channels,
        "architecture": dataclasses.asdict(encoder.size),
    }
    (folder / "config.json").write_text(json.dumps(config))
    preprocessing = dataclasses.asdict(recipe or Recipe())
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


def tiny(**options):
    return create_encoder("tiny", rngs=nnx.Rngs(0), **options)


def signal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(model, x):
    with torch.no_grad():
        return [stage.numpy() for stage in model.stages(torch.tensor(x).swapaxes(1, 2))]


@pytest.mark.parametrize("length", [1, 333, 1000])
@pytest.mark.parametrize("options", [{}, {"in_channels": 12}, {"input_affine": True}])
def test_every_stage_is_ours(tmp_path, length, options):
    encoder = tiny(**options)
    for path, value in nnx.to_flat_state(nnx.state(encoder)):
        if "affine" in path:
            value.set_value(value[...] + signal(*value.shape))
    model = pytorch_encoder.load(write_folder(tmp_path, encoder))
    x = signal(2, length, encoder.in_channels)
    for got, want in zip(run(model, x), whole_network.stages(encoder, x), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=5e-6)


@pytest.mark.parametrize("length", [1000, 4999, 5000])
def test_features_of_small_are_the_references(tmp_path, length):
    encoder = convert.from_torch(crc_weight.make_weights("small"), "small")
    model = pytorch_encoder.load(write_folder(tmp_path, encoder))
    want = crc_weight.load_golden("small")[f"features_float32_{length}"]
    got = run(model, crc_weight.make_signal(length))[-1]
    np.testing.assert_allclose(got, want, rtol=0, atol=5e-6)


def test_its_weights_have_the_names_of_a_model_folder(tmp_path):
    for options in ({}, {"input_affine": True}):
        encoder = tiny(**options)
        model = pytorch_encoder.load(write_folder(tmp_path, encoder))
        arrays = convert.to_torch(encoder, norms=False)
        assert set(model.state_dict()) == set(arrays)
        back = {key: value.numpy() for key, value in model.state_dict().items()}
        same = jax.tree.map(
            np.array_equal, nnx.state(convert.from_torch(back, "tiny")), nnx.state(encoder)
        )
        assert all(jax.tree.leaves(same))


@pytest.mark.parametrize("rate_hz", [100, 250, 360, 500, 333.3])
@pytest.mark.parametrize("band_hz", [[0.67, 40.0], None])
def test_preprocessing_is_our_reference(rate_hz, band_hz):
    x = signal(3, 2, round(10 * rate_hz)).cumsum(-1)
    x[0, 0, 5:90] = np.nan
    x[1, 1, -7:] = np.inf
    x[2] = np.nan
    before = x.copy()
    got = pytorch_encoder.preprocess(x, rate_hz, {**PREPROCESSING, "band_hz": band_hz})
    np.testing.assert_array_equal(x, before)
    want = reference.fill_gaps(np.where(np.isfinite(x), x, np.nan))
    want = reference.resample(want, x.shape[-1], 5000)
    want = reference.zscore(want if band_hz is None else reference.bandpass(want, 500, *band_hz))
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), want, rtol=0, atol=1e-6)
    assert not got[2].any()


def test_signals_that_are_not_zscored_stay_in_millivolts():
    x = signal(5000)
    raw = {"sample_rate_hz": 500.0, "band_hz": None, "zscored": False}
    np.testing.assert_array_equal(pytorch_encoder.preprocess(x, 500, raw).numpy(), x)


@pytest.mark.parametrize("rate_hz", [250, 500])
@pytest.mark.parametrize("in_channels", [1, 12])
def test_raw_signals_get_our_embeddings(tmp_path, rate_hz, in_channels):
    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    ours = encoder_lib.of_encoder(tiny(in_channels=in_channels), mesh, name="tiny", recipe=Recipe())
    model = pytorch_encoder.load(write_folder(tmp_path, ours.encoder))
    shape = (3, 10 * rate_hz) if in_channels == 1 else (3, in_channels, 10 * rate_hz)
    x = signal(*shape)
    x[0, ..., 40:60] = np.nan
    want = np.asarray(ours(x.reshape(3, in_channels, -1), rate_hz))
    want = want[:, encoder_lib.layer_slice(ours, "last")]
    got = pytorch_encoder.embed(model, x, rate_hz)
    assert not got.requires_grad
    np.testing.assert_allclose(got.numpy(), want, rtol=0, atol=1e-5)
    one = pytorch_encoder.embed(model, x[1], rate_hz)
    np.testing.assert_allclose(one.numpy(), want[1:2], rtol=0, atol=1e-5)


def test_a_signal_of_another_number_of_leads_is_refused(tmp_path):
    model = pytorch_encoder.load(write_folder(tmp_path, tiny(in_channels=12)))
    for shape in [(5000,), (24, 5000)]:
        with refuses("12", error=ValueError):
            pytorch_encoder.embed(model, signal(*shape), 500)


@pytest.mark.slow
@pytest.mark.skipif(not RECORDS.is_dir(), reason="there are no real recordings beside the project")
@pytest.mark.parametrize("name", ["ptbxl/00001_lr", "ptbxl_challenge/HR06000", "georgia/E07500"])
def test_real_recordings_get_our_embeddings(tmp_path, name):
    record = wfdb_record.read(RECORDS / name)
    rate_hz = record.sample_rate_hz
    adc = record.signal[:, : round(10 * rate_hz)]
    signal_mv = adc_lib.to_mv(adc, record.gain_per_mv, record.baseline)
    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    ours = encoder_lib.random("small", mesh, seed=0)
    model = pytorch_encoder.load(write_folder(tmp_path, ours.encoder))
    want = ours(signal_mv[:, None], rate_hz)
    want = np.asarray(want)[:, encoder_lib.layer_slice(ours, "last")]
    got = pytorch_encoder.embed(model, signal_mv, rate_hz).numpy()
    assert got.shape == (12, 256)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_weights_that_lack_something_are_refused(tmp_path):
    folder = write_folder(tmp_path, tiny())
    arrays = convert.to_torch(tiny(), norms=False)
    del arrays["first_conv.conv.bias"]
    torch_file.write_safetensors(folder / "model.safetensors", arrays, {})
    with refuses("first_conv.conv.bias", error=RuntimeError):
        pytorch_encoder.load(folder)


def test_every_weight_has_our_gradient(tmp_path):
    encoder, x = tiny(input_affine=True), signal(2, 199, 1)
    model = pytorch_encoder.load(write_folder(tmp_path, encoder))
    (model(torch.tensor(x).swapaxes(1, 2)) ** 2).sum().backward()
    graph, params = nnx.split(encoder)
    gradient = jax.jit(jax.grad(lambda params: (nnx.merge(graph, params)(x) ** 2).sum()))
    gradients = gradient(params)
    wanted = convert.to_torch(nnx.merge(graph, gradients), norms=False)
    for key, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad, wanted[key], atol=1e-5, err_msg=key)


def test_the_fine_tuning_in_its_docstring_learns(tmp_path):
    """Runs the text that users copy: on two kinds of signals that are easy to tell apart."""
    doc = inspect.getdoc(pytorch_encoder)
    blocks = doc.split("\n\n")
    code = textwrap.dedent(next(block for block in blocks if "optimiser" in block))
    torch.manual_seed(0)
    model = pytorch_encoder.load(write_folder(tmp_path, tiny()))
    time, slow = np.arange(500) / 250, np.arange(64) % 2
    windows_mv = np.sin(2 * np.pi * np.where(slow, 3, 20)[:, None] * time) + 0.1 * signal(64, 500)
    before = model.first_conv.conv.weight.detach().clone()
    names = {"torch": torch, "pytorch_encoder": pytorch_encoder, "model": model, "num_classes": 2}
    names |= {"windows_mv": windows_mv, "labels": torch.tensor(slow)}
    code = code.replace("lr=1e-4", "lr=1e-2")  # of weights that are not pre-trained
    exec(code, names)
    assert not torch.equal(before, model.first_conv.conv.weight)
    assert names["loss"] < 0.3


def test_it_imports_nothing_of_clef_jax(tmp_path):
    """It imports nothing of ours, and a copy of it runs in a Python that has not seen us."""
    source = pathlib.Path(pytorch_encoder.__file__)
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    others = imported - set(sys.stdlib_module_names)
    assert others == {"torch", "numpy", "scipy", "safetensors"}
    encoder = tiny()
    folder = write_folder(tmp_path / "model", encoder)
    (tmp_path / "pytorch_encoder.py").write_bytes(source.read_bytes())
    np.save(tmp_path / "signal.npy", signal(2500))
    script = (
        "import sys, numpy as np, pytorch_encoder as e; m = e.load('model'); "
        "y = e.embed(m, np.load('signal.npy'), 250).numpy(); "
        "assert not [n for n in sys.modules if n.startswith(('clef', 'jax'))]; "
        "np.save('embedding.npy', y)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=tmp_path, check=True)
    got = np.load(tmp_path / "embedding.npy")
    want = pytorch_encoder.embed(pytorch_encoder.load(folder), signal(2500), 250)
    np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("file", "change", "culprits"),
    [
        ("preprocessor_config.json", {"unit": "uV"}, ("unit 'uV'",)),
        ("preprocessor_config.json", {"missing": "0"}, ("missing '0'",)),
        ("config.json", {"architecture": {"activation": "gelu"}}, ("'activation'",)),
    ],
)
def test_what_the_module_does_not_support_is_refused_by_name(tmp_path, file, change, culprits):
    path = write_folder(tmp_path, tiny()) / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with refuses(path, *culprits, error=ValueError):
        pytorch_encoder.load(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "rate_hz", "culprit"),
    [
        (1.99, 500, "995 samples"),
        (0, 500, "0 samples"),
        (10, 49.9, "49.9"),
        (10, 1e6, "1e+06"),
        (10, float("nan"), "nan"),
    ],
)
def test_signals_that_embed_refuses_are_refused(tmp_path, seconds, rate_hz, culprit):
    model = pytorch_encoder.load(write_folder(tmp_path, tiny()))
    num_samples = round(seconds * (rate_hz if rate_hz < 1000 else 500))
    with refuses(culprit, error=ValueError):
        pytorch_encoder.embed(model, signal(num_samples), rate_hz)


def test_signals_at_the_limits_are_embedded(tmp_path):
    model = pytorch_encoder.load(write_folder(tmp_path, tiny()))
    assert pytorch_encoder.embed(model, signal(1000), 500).isfinite().all()
    assert pytorch_encoder.embed(model, signal(100), 50).isfinite().all()


def answering(folder, head):
    mesh, recipe = mesh_lib.make_mesh(jax.devices()[:1]), Recipe(window_seconds=2.0)
    ours = encoder_lib.of_encoder(tiny(), mesh, name="tiny", recipe=recipe)
    return pytorch_encoder.load(model_folder.save(ours, folder / "model", head=head))


@pytest.mark.parametrize("name", head_examples.ALL)
def test_the_head_answers_as_ours(tmp_path, name):
    head = head_examples.ALL[name]
    model = answering(tmp_path, head)
    features = pytorch_encoder.FromMillivolts(model, 250)(signal(6, 500))["features"].detach()
    want = answer_lib.answer(head, features.numpy())
    got = pytorch_encoder.predict(model, signal(6, 500), 250)
    assert got.names == head.names
    for field in ("probabilities", "decisions", "values", "lower", "upper"):
        actual, expected = getattr(got, field), getattr(want, field)
        assert (actual is None) == (expected is None), field
        if actual is not None:
            scale = head.scale if head.kind == "regression" else 1
            np.testing.assert_allclose(actual.numpy() / scale, expected / scale, atol=3e-6)
    one = pytorch_encoder.predict(model, signal(6, 500), 250, of_recording=True)
    of_mean = exported_head.answers(head, features.numpy().mean(0, keepdims=True))
    made = (one.values if one.probabilities is None else one.probabilities).numpy()
    np.testing.assert_allclose(made / head.scale, of_mean / head.scale, atol=3e-6)


def test_a_model_without_a_head_answers_nothing(tmp_path):
    model = answering(tmp_path, None)
    assert model.head is None
    assert set(pytorch_encoder.FromMillivolts(model, 250)(signal(500))) == {"embedding"}
    with refuses("head", error=ValueError):
        pytorch_encoder.predict(model, signal(500), 250)


@pytest.mark.parametrize("head", [head_examples.ATTENTION, head_examples.WITH_CLASSICAL])
def test_heads_that_read_more_than_the_embedding_are_refused(tmp_path, head):
    with refuses(tmp_path / "model", error=ValueError):
        answering(tmp_path, head)


@pytest.mark.parametrize("name", ["platt", "isotonic", "multiclass", "regression"])
def test_gradients_reach_the_millivolts(tmp_path, name):
    """Gaps, resampling, filter, scale, network and head are differentiated in float64."""
    model = answering(tmp_path, head_examples.ALL[name]).double()
    whole = pytorch_encoder.FromMillivolts(model, 60)
    signal_mv = torch.tensor(signal(1, 120).cumsum(-1), dtype=torch.float64)
    signal_mv[0, 20:30] = float("nan")
    directions = torch.tensor(signal(3, 120, seed=1), dtype=torch.float64)

    def along(steps):
        return tuple(
            value for key, value in whole(signal_mv + steps @ directions).items() if key[0] != "f"
        )

    steps = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(along, (steps,), eps=1e-6, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("variant", [None, *pytorch_encoder._VARIANTS])
def test_gradients_of_the_preprocessing_are_those_of_differences(variant):
    recipe = {**PREPROCESSING, "window_seconds": 2.0, **({"variant": variant} if variant else {})}
    signal_mv = torch.tensor(signal(1, 120).cumsum(-1), dtype=torch.float64, requires_grad=True)
    where = torch.arange(5, 1000, 90)

    def prepare(x):
        return pytorch_encoder.preprocess(x, 60, recipe, dtype=torch.float64)[:, where]

    assert torch.autograd.gradcheck(prepare, (signal_mv,), eps=1e-6, atol=1e-6, rtol=1e-4)


def test_a_flat_signal_has_a_finite_gradient():
    signal_mv = torch.ones(1000, dtype=torch.float64, requires_grad=True)
    pytorch_encoder.preprocess(signal_mv, 500, PREPROCESSING).sum().backward()
    assert signal_mv.grad.isfinite().all()


@pytest.mark.parametrize("head", [None, head_examples.PLATT])
def test_a_matrix_replaces_resampling_and_filter_of_whole_windows(tmp_path, head):
    model = answering(tmp_path, head)
    signal_mv = 3 + signal(4, 250).cumsum(-1)
    want = pytorch_encoder.FromMillivolts(model, 125)(signal_mv)
    got = pytorch_encoder.WholeWindow(model, 125)(torch.tensor(signal_mv))
    embedding, answers = (got, None) if head is None else got
    torch.testing.assert_close(embedding, want["embedding"], rtol=0, atol=1e-5)
    if head is not None:
        torch.testing.assert_close(answers, want["probabilities"], rtol=0, atol=1e-5)


def test_a_variant_that_is_not_linear_is_no_matrix(tmp_path):
    model = answering(tmp_path, None)
    model.preprocessing["variant"] = "zscore"
    with refuses("zscore", error=ValueError):
        pytorch_encoder.WholeWindow(model, 125)
