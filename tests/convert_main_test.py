"""Weights go in and out from the command line, and come back the same."""

import json
import re

import jax
import numpy as np
import pytest
from culprits import assert_names

import clef_jax
from clef_jax import convert, mesh as mesh_lib
from clef_jax.convert import __main__ as command, stablehlo, torch_file
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder

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
    command.main(["to-torch", f"--checkpoint={folder}", f"--out={out}"])
    np.testing.assert_array_equal(embedded(out), embedded(folder))
    if name != "folder":
        command.main(["from-torch", f"--input={out}", f"--out={back}"])
        assert_names(capsys.readouterr().out, "tiny", back)
        assert clef_jax.load(back).fingerprint == clef_jax.load(folder).fingerprint


def test_the_standalone_module_comes_along(folder, tmp_path):
    out = tmp_path / "model"
    command.main(["to-torch", f"--checkpoint={folder}", f"--out={out}", "--standalone"])
    text = (out / "pytorch_encoder.py").read_text()
    assert "import clef_jax" not in text
    assert "from clef_jax" not in text
    np.testing.assert_array_equal(embedded(out), embedded(folder))


def test_checkpoints_hold_the_references_names(folder, tmp_path):
    torch = pytest.importorskip("torch")
    out = tmp_path / "w.ckpt"
    command.main(["to-torch", f"--checkpoint={folder}", f"--out={out}"])
    found = torch.load(out, weights_only=True)["state_dict"]
    encoder = clef_jax.load(folder).embedder.encoder
    assert list(found) == [convert.PREFIX + key for key in convert.key_shapes(encoder)]


def test_stablehlo_is_written_from_the_command_line(folder, tmp_path, capsys):
    out = tmp_path / "m.stablehlo"
    command.main(
        [
            "to-stablehlo",
            f"--checkpoint={folder}",
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
            f"--checkpoint={folder}",
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
        (["to-torch", "--checkpoint=nothing", "--out=m"], ("nothing",)),
        (["to-onnx", "--checkpoint=nothing", "--out=m.bin"], ("--out=m.bin", ".onnx")),
        (["to-stablehlo", "--checkpoint=nothing", "--out=m.bin"], ("--out=m.bin", ".stablehlo")),
        (
            ["to-torch", "--checkpoint=nothing", "--out=w.pt", "--standalone"],
            ("--standalone", "--out=w.pt"),
        ),
    ],
)
def test_mistakes_are_told(argv, culprits, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command.main(argv)
    assert_names(capsys.readouterr().err, *culprits)


def test_a_damaged_file_is_told(tmp_path, capsys):
    path = tmp_path / "w.safetensors"
    torch_file.write_safetensors(path, {"a": np.zeros(3, np.float32)}, {})
    with pytest.raises(SystemExit):
        command.main(["from-torch", f"--input={path}", f"--out={tmp_path / 'm'}"])
    assert_names(capsys.readouterr().err, path, "a", "first_conv.")
