"""PyTorch's pickled files are read without running code, or rejected before memory is used."""

import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
from culprits import refuses
from flax import nnx

from clef_jax import convert
from clef_jax.convert import torch_archive, torch_file
from clef_jax.errors import UserError
from clef_jax.models import create_encoder

torch = pytest.importorskip("torch")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.ckpt"


@pytest.fixture
def whole(path):
    torch_file.write_lightning(path, create_encoder("tiny", rngs=nnx.Rngs(0)))
    return path


def refused(path, problem, *culprits):
    with refuses(path, *culprits, problem=problem):
        torch_file.read(path)


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


class HyperParameters:
    """What training modules like to save of their settings."""


def test_a_malicious_pickle_is_not_executed(path, tmp_path):
    mark = tmp_path / "executed"
    torch.save({"state_dict": {"w": torch.zeros(2)}, "extra": Malicious(mark)}, path)
    refused(path, "pickled_objects", "posix.system")
    assert not mark.exists()
    pickle.loads(pickle.dumps(Malicious(mark)))
    assert mark.exists(), "this pickle would not have done anything anyway"


def test_a_malicious_pickle_is_not_executed_even_where_the_look_ahead_sees_nothing(
    path, tmp_path, monkeypatch
):
    mark = tmp_path / "executed"
    torch.save({"state_dict": {"w": torch.zeros(2)}, "extra": Malicious(mark)}, path)
    monkeypatch.setattr(torch.serialization, "get_unsafe_globals_in_checkpoint", lambda path: [])
    refused(path, "pickled_objects")
    assert not mark.exists()


def test_a_malicious_bare_pickle_is_not_executed(path, tmp_path):
    mark = tmp_path / "executed"
    path.write_bytes(pickle.dumps({"w": Malicious(mark)}, protocol=2))
    refused(path, "bare_pickle")
    torch.save({"w": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    refused(path, "bare_pickle")
    assert not mark.exists()


def test_pickled_hyper_parameters_are_refused_with_a_way_out(path):
    torch.save({"state_dict": {}, "hyper_parameters": HyperParameters()}, path)
    refused(path, "pickled_objects", f"{__name__}.HyperParameters", "import torch")


def test_the_way_out_leads_out(path, tmp_path, monkeypatch):
    encoder = create_encoder("tiny", rngs=nnx.Rngs(0))
    torch_file.write_lightning(path, encoder)
    found = torch.load(path, weights_only=True)
    torch.save({**found, "hyper_parameters": HyperParameters()}, path)
    with pytest.raises(UserError) as error:
        torch_file.read(path)
    monkeypatch.chdir(tmp_path)
    lines = str(error.value).split("\n")[1:]
    assert len(lines) == 3
    exec("\n".join(line.strip() for line in lines))
    assert len(torch_file.read(tmp_path / "weights.ckpt").arrays) == len(found["state_dict"])


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_reported_as_damaged(whole, share):
    content = whole.read_bytes()
    whole.write_bytes(content[: int(len(content) * share)])
    refused(whole, "damaged")


def rewrite(path, change, **options):
    """The archive again, after `change` of its entries by name."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def test_a_zip_bomb_is_not_unpacked(whole, monkeypatch):
    def grow(entries):
        entries["archive/data/0"] = bytes(50 << 20)

    rewrite(whole, grow, compression=zipfile.ZIP_DEFLATED)
    assert whole.stat().st_size < 1 << 20
    monkeypatch.setattr(torch, "load", None)
    refused(whole, "compressed")


def test_entries_that_share_their_bytes_are_refused(whole, monkeypatch):
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
        archive.writestr("archive/data/0", bytes(4000))
        for number in range(1, 100):  # 99 more names for the same place in the file
            entry = zipfile.ZipInfo(f"archive/data/{number}")
            first = archive.getinfo("archive/data/0")
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(entry, name, getattr(first, name))
            archive.filelist.append(entry)
    monkeypatch.setattr(torch, "load", None)
    refused(whole, "overlapping_entries")


def test_names_that_occur_twice_are_refused(whole):
    with zipfile.ZipFile(whole, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data.pkl", b"other")
    refused(whole, "duplicate_entries")


def test_a_pickle_too_large_for_names_and_shapes_is_refused(whole, monkeypatch):
    monkeypatch.setattr(torch_archive, "MAX_PICKLE_BYTES", 100)
    refused(whole, "pickle_too_large")


def test_a_file_too_large_for_any_checkpoint_is_refused(whole, monkeypatch):
    monkeypatch.setattr(torch_archive, "MAX_FILE_BYTES", 100)
    refused(whole, "too_large")


def test_any_other_zip_archive_is_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    refused(path, "no_data_pkl")


def test_a_view_that_is_huge_only_in_memory_is_refused(path):
    torch.save({"first_conv.conv.weight": torch.zeros(1).expand(1 << 40)}, path)
    refused(path, "larger_than_file")
    weights = {
        "first_conv.conv.weight": torch.zeros(1).expand(100),
        "first_bn.bias": torch.ones(99),
    }
    torch.save(weights, path)
    refused(path, "larger_than_file", "first_conv.conv.weight")


@pytest.mark.parametrize(
    ("value", "problem", "culprit"),
    [
        (torch.zeros(2, dtype=torch.int32), "not_real", "torch.int32"),
        (torch.zeros(2, dtype=torch.complex64), "not_real", "torch.complex64"),
        (torch.zeros(2, 2).to_sparse(), "not_real", "torch.sparse_coo"),
        (torch.zeros(2, device="meta"), "not_real", "meta"),
        ([1.0, 2.0], "other_objects", "state_dict"),
    ],
)
def test_what_is_no_plain_tensor_of_real_numbers_is_refused_by_name(path, value, problem, culprit):
    torch.save({"state_dict": {"first_conv.conv.weight": value}}, path)
    refused(path, problem, "first_conv.conv.weight", culprit)


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2), {}, {"state_dict": {}}])
def test_a_file_without_weights_by_name_is_refused(path, content):
    torch.save(content, path)
    refused(path, "no_weights")


@pytest.mark.parametrize("version", ["2.9.1+cpu", "1.13.0", "unknown"])
def test_an_older_pytorch_is_refused_before_it_reads(whole, monkeypatch, version):
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setattr(torch, "load", None)
    with refuses(version, "2.10", "safetensors", problem="old_package"):
        torch_file.read(whole)


def test_a_missing_pytorch_is_reported_with_what_to_install(whole, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with refuses("pip install 'clef_jax[torch]'", problem="missing_package"):
        torch_file.read(whole)


def test_damage_anywhere_gives_a_sentence_or_the_weights(whole):
    content = whole.read_bytes()
    where = content.index(b"data.pkl")
    rng = np.random.default_rng(0)
    # Half of them in the pickle and its directory, where damage has the most forms.
    places = [*rng.integers(where, where + 9000, 150), *rng.integers(0, len(content), 150)]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        whole.write_bytes(damaged)
        try:
            found = torch_file.read(whole)
        except UserError:
            continue
        assert all(key.startswith(("first_", "stage_list.")) for key in found.arrays)


def test_reading_leaves_the_weights_in_memory_of_their_own(whole):
    arrays = torch_file.read(whole).arrays
    before = {key: array.copy() for key, array in arrays.items()}
    whole.write_bytes(bytes(whole.stat().st_size))
    assert all(np.array_equal(arrays[key], before[key]) for key in before)
    assert convert.from_torch(arrays, "tiny").in_channels == 1
