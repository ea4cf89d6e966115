"""Every recording is embedded once, whatever its length, and only where its lead is usable."""

import dataclasses

import jax
import numpy as np
import pytest
from culprits import refuses
from fault_costs import lost_bytes, user_bytes
from full_disk import no_file_above
from prepared import build

from clef_jax import mesh as mesh_lib
from clef_jax.building import catalog
from clef_jax.data import index as index_lib, raw
from clef_jax.embedding import batch, encoder as encoder_lib, prepared, window
from clef_jax.signal import adc

pytestmark = pytest.mark.usefixtures("quick_compiler")

MESH = mesh_lib.make_mesh(jax.devices()[:2])


@pytest.fixture(scope="module")
def encoder():
    return encoder_lib.random("tiny", MESH, seed=0)


@pytest.fixture(scope="module")
def indices(tmp_path_factory):
    """The training splits of three data sets: of one length, of many, and of several rates."""
    found = {}
    for name in ("ptb_xl", "cinc2017", "mc_med"):
        folder = tmp_path_factory.mktemp(name)
        tree = catalog.simulated(name).write(folder / "source")
        made = build(name, tree.source, folder / "data")
        found[name] = index_lib.load(made.data_path, "train")
    return found


def alone(encoder, index, row, lead=0):
    """A recording's windows, embedded by themselves."""
    signal = raw.signal_view(raw.Reader(index).records([row])[0], len(index.lead_names))[lead]
    rate = float(index.sample_rate_hz[row])
    count = round(10 * rate)
    if len(signal) < count:
        signal = np.concatenate([signal, signal[::-1]])[:count]
    windows = signal[: len(signal) // count * count].reshape(-1, count)
    padded = np.concatenate([windows, np.zeros((len(windows) % 2, count), np.int16)])
    gain = np.full(len(padded), index.gain_per_mv[row, lead])
    baseline = np.full(len(padded), index.baseline[row, lead])
    signal_mv = adc.to_mv(padded, gain, baseline)
    features = np.asarray(encoder(signal_mv[:, None], rate))[: len(windows)]
    unit_known = index_lib.read_metadata(index.version_dir)["amplitude"] != "arbitrary"
    usable = window.assess(signal_mv[: len(windows)], rate, unit_known=unit_known).usable
    return features[usable if usable.any() else slice(None)].mean(axis=0)


@pytest.mark.parametrize(("name", "lead"), [("ptb_xl", "V2"), ("cinc2017", "I"), ("mc_med", "II")])
def test_features_are_the_mean_of_a_recording_s_windows(name, lead, encoder, indices, tmp_path):
    index = indices[name]
    found = prepared.embed(encoder, index, lead, tmp_path)
    number = index.lead_names.index(lead)
    assert found.features.shape == (index.num_records, encoder.num_features)
    assert found.usable.any()
    for row in range(index.num_records):
        if found.usable[row]:
            want = alone(encoder, index, row, number)
            np.testing.assert_allclose(found.features[row], want, atol=2e-5)
        else:
            assert np.isnan(found.features[row]).all()
    ids = raw.Reader(index).texts(index.row)
    assert [one["record_id"].decode() for one in found.metadata] == ids
    if name == "ptb_xl":
        assert not found.usable.all()


def test_nothing_is_embedded_twice(encoder, indices, tmp_path, monkeypatch):
    first = prepared.embed(encoder, indices["ptb_xl"], "I", tmp_path)
    monkeypatch.setattr(prepared, "_write", None)
    again = prepared.embed(encoder, indices["ptb_xl"], "I", tmp_path)
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_equal(first.metadata, again.metadata)


def test_other_weights_data_or_leads_are_embedded_anew(encoder, indices, tmp_path):
    index = indices["ptb_xl"]
    prepared.embed(encoder, index, "I", tmp_path)
    prepared.embed(encoder, index, "II", tmp_path)
    prepared.embed(encoder_lib.random("tiny", MESH, seed=1), index, "I", tmp_path)
    prepared.embed(encoder, dataclasses.replace(index, fingerprint="other"), "I", tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_killed_run_leaves_no_cache_that_looks_complete(encoder, indices, tmp_path, monkeypatch):
    real, calls = batch.start, []

    def fail(*given):
        calls.append(given)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(batch, "start", fail)
    monkeypatch.setattr(batch, "BATCH_WINDOWS", 4)
    with pytest.raises(KeyboardInterrupt):
        prepared.embed(encoder, indices["ptb_xl"], "I", tmp_path)
    monkeypatch.setattr(batch, "start", real)
    found = prepared.embed(encoder, indices["ptb_xl"], "I", tmp_path)
    assert len(found.metadata) == indices["ptb_xl"].num_records
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".jsonl"]


def test_an_absent_lead_is_reported(encoder, indices, tmp_path):
    with refuses("V1", "I", problem="missing_lead"):
        prepared.embed(encoder, indices["cinc2017"], "V1", tmp_path)


@pytest.mark.faults
def test_a_full_disk_leaves_no_half_cache(encoder, indices, tmp_path, fault_log):
    """A write to memory that is mapped to a file would kill the process."""
    index = indices["ptb_xl"]
    cache = tmp_path / "cache"
    prepared.embed(encoder, index, "I", tmp_path / "other")  # compiles, and stores the program
    at_first = user_bytes(tmp_path)
    with no_file_above(256), refuses(cache, problem="not_written"):
        prepared.embed(encoder, index, "I", cache)
    assert list(cache.iterdir()) == []
    found = prepared.embed(encoder, index, "I", cache)
    assert found.features.shape == (index.num_records, encoder.num_features)
    assert np.isfinite(found.features[found.usable]).all()
    assert np.isnan(found.features[~found.usable]).all()
    fault_log(lost_bytes=lost_bytes(at_first, tmp_path))
