"""The command line exports and imports weights without changing them."""

import json
import os
import re
import subprocess
import sys

import head_examples
import jax
import numpy as np
import pytest
from culprits import assert_names

import clef_jax
from clef_jax import convert, mesh as mesh_lib
from clef_jax.convert import __main__ as command, check_windows, stablehlo, torch_file
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder

pytestmark = pytest.mark.usefixtures("quick_compiler")

SIGNAL_MV = np.random.default_rng(0).standard_normal(2500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = encoder_lib.random("tiny", mesh_lib.make_mesh(jax.local_devices()), seed=0)
    return model_folder.save(model, tmp_path_factory.mktemp("model") / "tiny")


def embedded(path):
    return clef_jax.load(path).embed(SIGNAL_MV, 250)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth", "w.ckpt", "folder"])
def test_weights_go_out_and_come_back(folder, tmp_path, name, capsys):
    if name not in ("w.safetensors", "folder"):
        pytest.importorskip("torch")
    out, back = tmp_path / "new" / name, tmp_path / "back"
    command.main(["to-torch", f"--model={folder}", f"--out={out}"])
    np.testing.assert_array_equal(embedded(out), embedded(folder))
    if name != "folder":
        command.main(["from-torch", f"--input={out}", f"--out={back}"])
        assert_names(capsys.readouterr().out, "tiny", back)
        assert clef_jax.load(back).fingerprint == clef_jax.load(folder).fingerprint


def test_the_standalone_module_comes_along(folder, tmp_path):
    out = tmp_path / "model"
    command.main(["to-torch", f"--model={folder}", f"--out={out}", "--standalone"])
    text = (out / "pytorch_encoder.py").read_text()
    assert "import clef_jax" not in text
    assert "from clef_jax" not in text
    np.testing.assert_array_equal(embedded(out), embedded(folder))


def test_checkpoints_hold_the_references_names(folder, tmp_path):
    torch = pytest.importorskip("torch")
    out = tmp_path / "w.ckpt"
    command.main(["to-torch", f"--model={folder}", f"--out={out}"])
    found = torch.load(out, weights_only=True)["state_dict"]
    encoder = clef_jax.load(folder).embedder.encoder
    assert list(found) == [convert.PREFIX + key for key in convert.key_shapes(encoder)]


def test_stablehlo_is_written_from_the_command_line(folder, tmp_path, capsys):
    out = tmp_path / "m.stablehlo"
    command.main(
        [
            "to-stablehlo",
            f"--model={folder}",
            f"--out={out}",
            "--sample-rate-hz=250",
            "--platforms",
            "cpu",
        ]
    )
    shown = capsys.readouterr().out
    assert_names(shown, out)
    assert re.search(r"\de-\d\d|\b0\b", shown)  # how much it differs from the model
    got = np.asarray(stablehlo.load(out)(SIGNAL_MV[None].astype(np.float32)))[0]
    np.testing.assert_allclose(got, embedded(folder), atol=1e-5)
    assert json.loads((tmp_path / "m.json").read_text())["window_shape"] == [2500]


def test_onnx_is_written_from_the_command_line(folder, tmp_path, capsys):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    out = tmp_path / "m.onnx"
    command.main(
        [
            "to-onnx",
            f"--model={folder}",
            f"--out={out}",
            "--sample-rate-hz=250",
            "--int8=weights",
        ]
    )
    assert_names(capsys.readouterr().out, "m.onnx", "m.int8.onnx")
    session = runtime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    got = session.run(["embedding"], {"signal_mv": SIGNAL_MV[None].astype(np.float32)})[0][0]
    np.testing.assert_allclose(got, embedded(folder), atol=1e-5)
    assert (tmp_path / "m.int8.onnx").stat().st_size < out.stat().st_size


@pytest.mark.parametrize(
    ("argv", "culprits"),
    [
        (["from-torch", "--input=nothing.pt", "--out=m"], ("nothing.pt",)),
        (["to-torch", "--model=nothing", "--out=m"], ("nothing",)),
        (["to-onnx", "--model=nothing", "--out=m.bin"], ("--out=m.bin", ".onnx")),
        (["to-stablehlo", "--model=nothing", "--out=m.bin"], ("--out=m.bin", ".stablehlo")),
        (["to-onnx", "--model=nothing", "--out=m.onnx", "--recordings=x"], ("--recordings",)),
        (
            ["to-torch", "--model=nothing", "--out=w.pt", "--standalone"],
            ("--standalone", "--out=w.pt"),
        ),
    ],
)
def test_mistakes_are_reported(argv, culprits, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command.main(argv)
    assert_names(capsys.readouterr().err, *culprits)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.ckpt"])
def test_without_torch_its_files_are_refused_before_the_model_is_loaded(name, tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "clef_jax", "convert", "to-torch"),
            *("--model=nothing", f"--out={tmp_path / name}"),
        ],
        env=dict(os.environ, PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert_names(done.stderr, "pip install 'clef_jax[torch]'", ".safetensors")
    assert "Traceback" not in done.stderr


def test_a_damaged_file_is_reported(tmp_path, capsys):
    path = tmp_path / "w.safetensors"
    torch_file.write_safetensors(path, {"a": np.zeros(3, np.float32)}, {})
    with pytest.raises(SystemExit):
        command.main(["from-torch", f"--input={path}", f"--out={tmp_path / 'm'}"])
    assert_names(capsys.readouterr().err, path, "a", "first_conv.")


@pytest.fixture(scope="module")
def answering(folder, tmp_path_factory):
    model = clef_jax.load(folder).embedder
    made = tmp_path_factory.mktemp("answering") / "tiny"
    return model_folder.save(model, made, head=head_examples.ISOTONIC)


def test_the_same_answers_from_all_forms(answering, tmp_path, capsys, monkeypatch):
    """Python, ONNX, StableHLO and the folder for PyTorch; `predict` is tested against Python."""
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(check_windows, "NUM_SIMULATED", 20)
    model, given = f"--model={answering}", SIGNAL_MV[None].astype(np.float32)
    want = clef_jax.load(answering).predict(SIGNAL_MV, 250).probabilities
    flags = [model, "--sample-rate-hz=250"]
    hlo, onnx = tmp_path / "m.stablehlo", tmp_path / "m.onnx"
    command.main(["to-stablehlo", *flags, f"--out={hlo}", "--platforms=cpu"])
    command.main(["to-onnx", *flags, f"--out={onnx}", "--float16=network"])
    assert_names(capsys.readouterr().out, "m.stablehlo", "m.onnx", "m.float16.onnx", "20")
    got = stablehlo.load(hlo)(given)["probabilities"]
    np.testing.assert_allclose(got[0], want, atol=1e-5)
    session = runtime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    got = session.run(["probabilities"], {"signal_mv": given})[0]
    np.testing.assert_allclose(got[0], want, atol=1e-5)
    torch_folder = tmp_path / "for_torch"
    command.main(["to-torch", model, f"--out={torch_folder}", "--standalone"])
    got = clef_jax.load(torch_folder).predict(SIGNAL_MV, 250).probabilities
    np.testing.assert_array_equal(got, want)
    pytest.importorskip("torch")
    from clef_jax.convert import pytorch_encoder

    got = pytorch_encoder.predict(pytorch_encoder.load(torch_folder), given, 250).probabilities
    np.testing.assert_allclose(got[0].numpy(), want, atol=1e-5)


def test_the_head_stays_behind_where_asked(answering, tmp_path):
    out = tmp_path / "alone"
    command.main(["to-torch", f"--model={answering}", f"--out={out}", "--no-head"])
    assert clef_jax.load(out).head is None


@pytest.mark.parametrize("verb", ["to-torch", "to-onnx", "to-stablehlo"])
def test_a_head_that_needs_more_than_the_embedding_is_refused(folder, tmp_path, verb, capsys):
    if verb == "to-onnx":
        pytest.importorskip("onnxruntime")
    model = clef_jax.load(folder).embedder
    made = model_folder.save(model, tmp_path / "m", head=head_examples.ATTENTION)
    name = {"to-torch": "out", "to-onnx": "out.onnx", "to-stablehlo": "out.stablehlo"}[verb]
    standalone = ["--standalone"] if verb == "to-torch" else []
    text = refused(capsys, verb, f"--model={made}", f"--out={tmp_path / name}", *standalone)
    assert_names(text, "--no-head")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def refused(capsys, *arguments):
    with pytest.raises(SystemExit):
        command.main([str(one) for one in arguments])
    return capsys.readouterr().err


def test_files_of_another_origin_are_refused_unless_they_may_be_replaced(folder, tmp_path, capsys):
    out, beside = tmp_path / "keep.stablehlo", tmp_path / "keep.json"
    beside.write_text('{"mine": 1}')
    flags = ["to-stablehlo", f"--model={folder}", f"--out={out}", "--platforms=cpu"]
    assert_names(refused(capsys, *flags), beside, "--overwrite")
    assert [path.name for path in tmp_path.iterdir()] == ["keep.json"]
    assert beside.read_text() == '{"mine": 1}'
    command.main([*flags, "--overwrite"])
    command.main(flags)
    out.with_suffix(".json").unlink()
    assert_names(refused(capsys, *flags), out, "--overwrite")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.ckpt", "m.onnx", "folder"])
def test_the_same_command_replaces_what_it_wrote_and_nothing_else(folder, tmp_path, name, capsys):
    if name in ("w.pt", "w.ckpt"):
        pytest.importorskip("torch")
    verb = "to-torch"
    if name == "m.onnx":
        pytest.importorskip("onnxruntime")
        verb = "to-onnx"
    out = tmp_path / name
    arguments = [verb, f"--model={folder}", f"--out={out}"]
    for _ in range(2):
        command.main(arguments)
    if name == "folder":
        (out / "config.json").write_text('{"model_type": "wav2vec2"}')
        assert_names(refused(capsys, *arguments), out)
        return
    out.write_bytes(b"mine")
    assert_names(refused(capsys, *arguments), out, "--overwrite")
    assert out.read_bytes() == b"mine"
    command.main([*arguments, "--overwrite"])
    assert out.stat().st_size > 1000


def test_weights_of_another_program_are_not_replaced(folder, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    out = tmp_path / "w.pt"
    torch.save({"first_conv.conv.weight": torch.zeros(3)}, out)
    before = out.read_bytes()
    assert_names(refused(capsys, "to-torch", f"--model={folder}", f"--out={out}"), out)
    assert out.read_bytes() == before


@pytest.mark.parametrize("verb", ["to-torch", "from-torch"])
def test_no_folder_gets_the_name_of_a_file(folder, tmp_path, verb, capsys):
    out = tmp_path / "x.zip"
    given = f"--model={folder}"
    if verb == "from-torch":
        command.main(["to-torch", given, f"--out={tmp_path / 'w.safetensors'}"])
        given = f"--input={tmp_path / 'w.safetensors'}"
    assert_names(refused(capsys, verb, given, f"--out={out}"), "x.zip")
    assert not out.exists()
