"""Published encoders are exported as StableHLO; other exports refuse them or keep their names."""

import jax
import numpy as np
import published_baseline as toy
import pytest
from culprits import refuses

from clef_jax import mesh as mesh_lib
from clef_jax.convert import __main__ as command, safetensors_file, stablehlo
from clef_jax.embedding import foreign, pretrained

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture(autouse=True)
def baseline(tmp_path_factory, monkeypatch):
    toy.register(tmp_path_factory.mktemp("packages"), monkeypatch)


@pytest.fixture
def weights(tmp_path):
    network = foreign.untrained("toy", ONE, seed=1).network
    path = tmp_path / "toy.safetensors"
    safetensors_file.write_safetensors(path, toy.PUBLISHED.to_torch(network), {})
    return path


@pytest.mark.parametrize("variant", [None, "padded", "halves", "as_reference"])
def test_stablehlo_holds_preprocessing_and_network(variant, weights, tmp_path):
    out = tmp_path / "toy.stablehlo"
    argv = ["to-stablehlo", f"--model={weights}", f"--out={out}", "--platforms", "cpu"]
    command.main([*argv, f"--variant={variant}"] if variant else argv)
    model = pretrained.load(weights, ONE, variant=variant).embedder
    count = model.recipe.num_samples(model.recipe.sample_rate_hz)
    signal_mv = np.random.default_rng(0).standard_normal((3, 12, count)).astype(np.float32)
    got = stablehlo.load(out)(signal_mv)
    want = model(signal_mv, model.recipe.sample_rate_hz)[:, model.layers["last"]]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_one_lead_may_be_given_without_an_axis(tmp_path):
    model = foreign.untrained("toy", ONE, seed=1).for_lead("II")
    stablehlo.write(model, tmp_path / "toy.stablehlo", platforms=["cpu"], sample_rate_hz=250)
    signal_mv = np.random.default_rng(0).standard_normal((2, 500)).astype(np.float32)
    assert stablehlo.load(tmp_path / "toy.stablehlo")(signal_mv).shape == (2, 3)
    with refuses("toy", problem="preprocessing_needed"):
        stablehlo.write(model, tmp_path / "other.stablehlo", preprocessing=False)


@pytest.mark.parametrize(
    "argv",
    [
        ["to-onnx", "--out=toy.onnx"],
        ["to-torch", "--out=folder", "--standalone"],
        ["to-torch", "--out=toy.ckpt"],
    ],
)
def test_exports_of_our_architecture_refuse_others(argv, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *options = argv
    settings = {"to-onnx": command.ToOnnx, "to-torch": command.ToTorch}[name]
    out = options[0].removeprefix("--out=")
    more = {"standalone": True} if "--standalone" in options else {}
    with refuses("Toy", "to-stablehlo", problem="not_exportable"):
        settings(model=str(weights), out=out, **more).run()
    assert not (tmp_path / out).exists()


@pytest.mark.parametrize("out", ["again.safetensors", "again.pth", "folder"])
def test_weights_keep_their_names(out, weights, tmp_path):
    if out.endswith(".pth"):
        pytest.importorskip("torch")
    command.ToTorch(model=str(weights), out=str(tmp_path / out)).run()
    again, before = (pretrained.load(path, ONE).embedder for path in (tmp_path / out, weights))
    assert again.fingerprint == before.fingerprint


def test_from_torch_makes_a_folder(weights, tmp_path, capsys):
    options = [f"--input={weights}", f"--out={tmp_path / 'folder'}", "--variant=halves"]
    command.main(["from-torch", *options])
    assert pretrained.load(tmp_path / "folder", ONE).embedder.variant_name == "halves"
    assert "SHA-256" in capsys.readouterr().out
