"""Weights survive a round trip through every kind of file; foreign weights are rejected by name."""

import sys

import crc_weight
import numpy as np
import pytest
from culprits import assert_names, refuses
from flax import nnx
from full_disk import no_file_above

from clef_jax import convert
from clef_jax.convert import torch_file
from clef_jax.models import SIZES, create_encoder

STEM = "first_conv.conv.weight"
NUM_NORMS = 10 * 5


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def encoder():
    return create_encoder("tiny", in_channels=12, rngs=nnx.Rngs(0))


@pytest.fixture
def tensors(torch, encoder):
    return {key: torch.tensor(value) for key, value in convert.to_torch(encoder).items()}


def assert_same(arrays, encoder):
    back = convert.to_torch(convert.from_torch(arrays, "tiny"))
    for key, value in convert.to_torch(encoder).items():
        np.testing.assert_array_equal(back[key], value, err_msg=key, strict=True)


def refused(path, *culprits, problem=None):
    with refuses(path.name, *culprits, problem=problem):
        torch_file.read(path)


@pytest.mark.parametrize("write", [torch_file.write_state_dict, torch_file.write_lightning])
def test_pytorch_files_give_back_what_was_written(torch, encoder, tmp_path, write):
    path = tmp_path / "weights.ckpt"
    write(path, encoder)
    found = torch_file.read(path)
    assert_same(found.arrays, encoder)
    assert found.num_unused_norms == NUM_NORMS
    assert_names("; ".join(found.notes), NUM_NORMS)
    assert found.kind == ("lightning" if write is torch_file.write_lightning else "state_dict")
    assert list(tmp_path.iterdir()) == [path]


def test_safetensors_give_back_what_was_written(encoder, tmp_path):
    path = tmp_path / "weights.safetensors"
    torch_file.write_safetensors(path, convert.to_torch(encoder, norms=False), {"format": "pt"})
    found = torch_file.read(path)
    assert_same(found.arrays, encoder)
    assert (found.kind, found.num_unused_norms, found.notes) == ("safetensors", 0, ())


def test_the_references_network_loads_the_file_strictly(torch, encoder, tmp_path):
    torch_reference = pytest.importorskip("torch_reference")
    path = tmp_path / "weights.pth"
    torch_file.write_state_dict(path, encoder)
    network = torch_reference.make("tiny", in_channels=12)
    network.load_state_dict(torch.load(path, weights_only=True), strict=True)
    signal = np.random.default_rng(0).standard_normal((2, 333, 12)).astype(np.float32)
    with torch.no_grad():
        got = network(torch.tensor(signal).swapaxes(1, 2)).numpy()
    np.testing.assert_allclose(got, encoder(signal), atol=5e-6)


def test_the_file_has_the_references_keys_in_its_order(torch, tmp_path):
    path = tmp_path / "clef_small.ckpt"
    small = convert.from_torch(crc_weight.make_weights("small"), "small")
    torch_file.write_lightning(path, small, epoch=3, num_steps=40)
    found = torch.load(path, weights_only=True)
    golden = crc_weight.load_golden("small")
    assert list(found["state_dict"]) == [convert.PREFIX + str(key) for key in golden["keys"]]
    assert (found["epoch"], found["global_step"]) == (3, 40)
    assert isinstance(found["pytorch-lightning_version"], str)


def test_the_kind_is_inferred_from_the_bytes_and_not_from_the_name(encoder, tmp_path):
    path = tmp_path / "weights.ckpt"
    torch_file.write_safetensors(path, convert.to_torch(encoder, norms=False), {})
    assert torch_file.read(path).kind == "safetensors"


def test_what_lies_beside_the_weights_is_skipped_and_reported(torch, tensors, tmp_path):
    path = tmp_path / "last.ckpt"
    content = {"state_dict": tensors, "optimizer_states": [{"step": 1}], "epoch": 2}
    torch.save(content, path)
    found = torch_file.read(path)
    assert list(found.arrays) == list(tensors)
    assert_names(found.notes[0], "optimizer_states, epoch")


def test_half_precision_comes_in_as_float32(torch, tensors, encoder, tmp_path):
    path = tmp_path / "half.pt"
    torch.save({k: v.bfloat16() if v.ndim else v for k, v in tensors.items()}, path)
    arrays = torch_file.read(path).arrays
    assert arrays[STEM].dtype == np.float32
    want = convert.to_torch(encoder)[STEM]
    np.testing.assert_allclose(arrays[STEM], want, rtol=2**-8)
    assert not np.array_equal(arrays[STEM], want)


def test_used_batch_norms_and_a_classifier_are_noted(torch, tensors, tmp_path):
    path = tmp_path / "1_lead_ECGFounder.pth"
    tensors["dense.weight"] = torch.zeros(3, 16)
    torch.save({"state_dict": tensors}, path)
    unused = torch_file.read(path).notes
    assert_names("; ".join(unused), "dense")
    tensors["first_bn.num_batches_tracked"] += 5
    torch.save({"state_dict": tensors}, path)
    used = torch_file.read(path).notes
    (more,) = set(used) - set(unused)
    assert_names(more, "batch norms")


@pytest.mark.parametrize("prefix", ["", convert.PREFIX])
def test_weights_of_the_training_module_are_refused_by_name(torch, tensors, tmp_path, prefix):
    path = tmp_path / "run.ckpt"
    state = {prefix + key: value for key, value in tensors.items()}
    torch.save({"state_dict": {**state, "projector.0.weight": torch.zeros(2, 2)}}, path)
    refused(path, "projector.0.weight", problem="foreign_weights")


def test_weights_that_are_there_twice_are_refused_by_name(torch, tensors, tmp_path):
    path = tmp_path / "twice.ckpt"
    torch.save({**tensors, convert.PREFIX + STEM: tensors[STEM]}, path)
    refused(path, STEM, problem="duplicate_weights")


def test_other_encoders_and_mixed_prefixes_are_refused(torch, tensors, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"layer4.0.conv1.weight": torch.zeros(2, 2)}, path)
    refused(path, "layer4.0.conv1.weight", problem="foreign_weights")
    bare = tensors.pop(STEM)
    torch.save({**{convert.PREFIX + k: v for k, v in tensors.items()}, STEM: bare}, path)
    refused(path, STEM)


def test_nan_among_the_weights_is_refused_by_name(torch, tensors, tmp_path):
    path = tmp_path / "failed.ckpt"
    tensors[STEM][0, 0, 0] = float("nan")
    torch.save(tensors, path)
    refused(path, STEM, problem="not_finite")


def test_a_failed_write_leaves_the_old_file_as_it_was(torch, encoder, tmp_path, monkeypatch):
    path = tmp_path / "weights.ckpt"
    path.write_bytes(b"old")

    def fail(content, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with refuses(path, "disk full", problem="not_written"):
        torch_file.write_state_dict(path, encoder)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("in_channels", [1, 12])
def test_the_size_and_the_leads_are_inferred_from_the_shapes(size, in_channels):
    shapes = convert.weights.shapes(SIZES[size], in_channels)
    arrays = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    arrays |= {"first_bn.weight": np.zeros(3), "dense.weight": np.zeros((4, 1024))}
    assert torch_file.infer_size(arrays) == (size, in_channels)
    prefixed = {convert.PREFIX + key: array for key, array in arrays.items()}
    assert torch_file.infer_size(prefixed) == (size, in_channels)


def test_weights_of_no_size_name_the_nearest_and_what_differs(encoder):
    arrays = convert.to_torch(encoder)
    del arrays["first_conv.conv.bias"]
    arrays["stage_list.0.block_list.0.se_fc1.bias"] = np.zeros(5)
    wrong = ("stage_list.0.block_list.0.se_fc1.bias", "[5]", "[4]", "first_conv.conv.bias")
    with refuses("'tiny'", *wrong, problem="unknown_shape"):
        torch_file.infer_size(arrays)


def test_reading_safetensors_needs_no_pytorch(encoder, tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    torch_file.write_safetensors(path, convert.to_torch(encoder, norms=False), {})
    monkeypatch.setitem(sys.modules, "torch", None)
    assert_same(torch_file.read(path).arrays, encoder)
    with refuses("pip install 'clef_jax[torch]'", problem="missing_package"):
        torch_file.write_state_dict(path, encoder)


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "encoder.", "model.", "module._orig_mod.backbone.", "net.module."],
)
def test_prefixes_of_training_programs_are_removed(encoder, tmp_path, prefix):
    path = tmp_path / "weights.safetensors"
    arrays = convert.to_torch(encoder, norms=False)
    torch_file.write_safetensors(path, {prefix + key: a for key, a in arrays.items()}, {})
    found = torch_file.read(path)
    assert_same(found.arrays, encoder)
    left = prefix.replace("_orig_mod.", "")
    assert [left in note for note in found.notes] == [True] * bool(left)


def test_names_that_pytorch_adds_inside_are_removed(encoder, tmp_path):
    path = tmp_path / "weights.safetensors"
    arrays = convert.to_torch(encoder, norms=False)
    added = {"conv1.": "_orig_mod.conv1.", "se_fc1.": "_fsdp_wrapped_module.se_fc1."}
    for name, wrapped in added.items():
        arrays = {key.replace(name, wrapped): array for key, array in arrays.items()}
    torch_file.write_safetensors(path, arrays, {})
    assert any("._orig_mod." in key for key in arrays)
    assert_same(torch_file.read(path).arrays, encoder)


def test_two_encoders_behind_prefixes_are_refused(encoder, tmp_path):
    path = tmp_path / "weights.safetensors"
    arrays = convert.to_torch(encoder, norms=False)
    both = {prefix + key: a for prefix in ("module.", "encoder.") for key, a in arrays.items()}
    torch_file.write_safetensors(path, both, {})
    refused(path, "first_conv.conv.bias", problem="duplicate_weights")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {"lr": 0.1}},
        lambda state: {"encoder": state, "opt": None, "loss": 0.5},
        lambda state: {"model": {"state_dict": state}, "step": 1},
        lambda state: {"module": {f"module.{key}": value for key, value in state.items()}},
    ],
)
def test_weights_are_found_where_training_programs_keep_them(
    torch, tensors, encoder, tmp_path, wrap
):
    path = tmp_path / "checkpoint.pt"
    torch.save(wrap(tensors), path)
    found = torch_file.read(path)
    assert_same(found.arrays, encoder)
    beside = {"epoch", "optimizer_state_dict", "opt", "step"} & set(wrap(tensors))
    assert_names("; ".join(found.notes), *beside)


def test_weights_under_two_names_are_ambiguous(torch, tensors, tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": tensors, "state_dict": tensors}, path)
    refused(path, "model", "state_dict", problem="several_weights")
    circle = {"epoch": 1}
    circle["model"] = circle
    torch.save(circle, path)
    refused(path, "epoch", problem="other_objects")


@pytest.mark.faults
@pytest.mark.parametrize("write", [torch_file.write_state_dict, torch_file.write_lightning])
def test_files_are_recognised_and_a_full_disk_leaves_the_old_one(
    torch, encoder, tmp_path, write, fault_log
):
    path = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(2)}, path)
    assert not torch_file.was_written_here(path)
    before = path.read_bytes()
    with no_file_above(4096), refuses(path, problem="not_written"):
        write(path, encoder)
    assert path.read_bytes() == before
    write(path, encoder)
    assert torch_file.was_written_here(path)
    assert torch.load(path, weights_only=True, mmap=True)
    fault_log()
