"""Tests HDF5 files: stacks as in CODE-15 %, a data set for each recording or lead."""

import importlib

import benchmark_modules
import numpy as np
import pytest

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import Hints

h5py = pytest.importorskip("h5py")
seeds = benchmark_modules.load("fuzz_seeds")
encoder = importlib.import_module("fuzz_seeds.hdf5")

TWELVE = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.h5"


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def create(path):
    """Returns a new file, also where the one of the same name is still open."""
    path.unlink(missing_ok=True)
    return h5py.File(path, "w")


def write(path, attributes=None, **arrays):
    with create(path) as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
        file.attrs.update(attributes or {})
    return path


def everything(recording):
    return recording.read(0, recording.num_samples)


def problems(recording):
    return {note.problem for note in recording.notes}


def refusal(path, **hints):
    with pytest.raises(Defect) as caught:
        list(formats.open(path, Hints(**hints)))
    assert caught.value.detail.endswith(".")
    return caught.value


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"chunks": (1, 100, 12)}])
def test_a_part_of_code_15_is_read_by_window(path, options):
    arrays = encoder.code_15(3)
    with create(path) as file:
        file["exam_id"] = arrays["exam_id"]
        file.create_dataset("tracings", data=arrays["tracings"], **options)
    recordings = list(formats.open(path))
    assert [recording.part for recording in recordings] == ["590", "591", "592"]
    for row, recording in enumerate(recordings):
        assert (recording.sample_rate_hz, recording.lead_names) == (400, TWELVE)
        assert (recording.num_samples, recording.unit_known) == (4096, True)
        assert problems(recording) == {"assumed_convention"}
        want = arrays["tracings"][row].T.copy()
        want[:, :648] = want[:, 648 + 1000 :] = np.nan
        for start, length in ((0, 4096), (640, 20), (1640, 30), (700, 1)):
            got = recording.read(start, length)
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, want[:, start : start + length])


def test_what_the_file_states_and_the_hints_win_over_the_convention(path):
    arrays = encoder.code_15(2)
    write(path, {"fs": 300, "units": "uV"}, **arrays)
    recording, _ = formats.open(path, Hints(sample_rate_hz=500, units="V"))
    assert recording.sample_rate_hz == 300
    got = recording.read(700, 5)
    np.testing.assert_allclose(got, arrays["tracings"][0, 700:705].T / 1000, rtol=1e-6)
    write(path, **arrays)
    recording, _ = formats.open(path, Hints(sample_rate_hz=500, units="V"))
    assert recording.sample_rate_hz == 500
    got = recording.read(700, 5)
    np.testing.assert_allclose(got, arrays["tracings"][0, 700:705].T * 1000, rtol=1e-6)


@pytest.mark.parametrize("change", ["no_ids", "wider", "integers", "code_test"])
def test_other_layouts_are_not_taken_for_code_15(path, change):
    arrays = encoder.code_15(2)
    if change == "no_ids":
        del arrays["exam_id"]
    elif change == "wider":
        arrays["tracings"] = arrays["tracings"][:, :, :8]
    elif change == "integers":
        arrays["tracings"] = (arrays["tracings"] * 1000).astype(np.int16)
    else:
        arrays["tracings"] = arrays["tracings"][:, :, [0, 1, 2, 4, 5, 3, *range(6, 12)]]
    write(path, **arrays)
    assert refusal(path).problem == "no_rate"
    recording, _ = formats.open(path, Hints(sample_rate_hz=400))
    assert not recording.unit_known
    assert not any(recording.lead_names)


def test_limb_leads_that_contradict_each_other_are_noted(path):
    write(path, exam_id=np.arange(2), tracings=noise(2, 4096, 12).astype("f4"))
    recording, _ = formats.open(path)
    assert problems(recording) == {"assumed_convention", "inconsistent_leads"}
    assert (recording.sample_rate_hz, recording.lead_names) == (400, TWELVE)


def test_few_zeros_are_no_padding(path):
    signal = noise(2, 2, 1000)
    signal[0, :, :15] = 0
    signal[1, :, 984:] = 0
    write(path, {"fs": 500}, ecg=signal)
    first, second = map(everything, formats.open(path, Hints(units="mV")))
    np.testing.assert_array_equal(first, signal[0].astype("f4"))
    assert np.isnan(second[:, 984:]).all()
    np.testing.assert_array_equal(second[:, :984], signal[1, :, :984].astype("f4"))


def test_the_value_that_the_file_states_for_missing_samples_is_missing(path):
    signal = np.round(noise(2, 1000) * 100).astype(np.int16)
    signal[:, 300:400] = -9999
    for name in ("_FillValue", "missing_value"):
        write(path, {"fs": 500, "unit": "uV", name: np.int16(-9999)}, ecg=signal)
        (got,) = map(everything, formats.open(path))
        assert np.isnan(got[:, 300:400]).all()
        np.testing.assert_allclose(got[:, 400:], signal[:, 400:] / 1000, rtol=1e-6)


def test_an_array_and_a_table_of_ids_and_rates(path):
    signal = np.round(noise(3, 2, 1000) * 1000).astype(np.int16)
    signal[1, 0, 3] = np.iinfo(np.int16).min
    kinds = [("id", "S4"), ("fs", "f4"), ("gain", "f8"), ("sex", "S1"), ("age", "i4")]
    rows = [(b"a", 500, 200, b"F", 50), (b"b", 250, 100, b"M", 9), (b"c", 360, 1, b"", 7)]
    table = np.array(rows, kinds)
    write(path, {"leads": ["DI", "V5"]}, ecg=signal, table=table)
    first, second, third = formats.open(path)
    assert [r.part for r in (first, second, third)] == ["a", "b", "c"]
    assert [r.sample_rate_hz for r in (first, second, third)] == [500, 250, 360]
    assert first.lead_names == ("I", "V5")
    np.testing.assert_allclose(everything(first), signal[0] / 200, rtol=1e-6)
    want = signal[1] / 100
    want[0, 3] = np.nan
    np.testing.assert_allclose(everything(second), want, rtol=1e-6)
    assert (first.patient.male, first.patient.age_years) == (False, 50)
    assert (second.patient.male, second.patient.age_years) == (True, 9)
    assert (third.patient.male, third.patient.age_years) == (None, 7)


def test_columns_beside_a_stack_of_single_leads(path):
    signal = noise(4, 900)
    write(path, signals=signal, record_id=[5, 6, 7, 5], fs=[250, 250, 500, 500], units=b"uV")
    recordings = list(formats.open(path))
    assert [r.part for r in recordings] == ["5/0", "6", "7", "5/3"]
    assert [r.sample_rate_hz for r in recordings] == [250, 250, 500, 500]
    assert [problems(r) & {"duplicate_id"} for r in recordings[:2]] == [{"duplicate_id"}, set()]
    for row, recording in enumerate(recordings):
        np.testing.assert_allclose(everything(recording), signal[row : row + 1] / 1000, rtol=1e-6)


def test_columns_may_stand_in_a_group_of_their_own(path):
    signal = noise(3, 2, 700)
    columns = {"metadata__id": [b"p", b"q", b"r"], "metadata__fs": [250, 500, 500]}
    columns |= {"metadata__heart_rate_mean": np.arange(3.0), "scores__any": np.arange(700.0)}
    for name, prefix in (("ecg", ""), ("data__ecg", "data/")):
        write(path, {"units": "mV"}, **{name: signal}, **columns)
        recordings = list(formats.open(path))
        assert [r.part for r in recordings] == [f"{prefix}{letter}" for letter in "pqr"]
        assert [r.sample_rate_hz for r in recordings] == [250, 500, 500]


def test_a_table_of_pandas_is_read_with_the_names_of_its_columns(path):
    signal, items = noise(700, 2), [b"II", b"V5"]
    columns = {"t__axis0": items, "t__axis1": np.arange(700), "t__block0_items": items}
    write(path, t__block0_values=signal, **columns)
    (recording,) = formats.open(path, Hints(sample_rate_hz=500, units="mV"))
    assert (recording.part, recording.lead_names) == ("t", ("II", "V5"))
    np.testing.assert_array_equal(everything(recording), signal.T.astype("f4"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", [(2, 800), (800, 2)])
def test_a_data_set_for_each_recording(path, shape, order):
    signals = [noise(*shape, seed=seed).astype(f"{order}f8") for seed in range(3)]
    with create(path) as file:
        for number, signal in enumerate(signals):
            group = file.create_group(f"subjects/{number}")
            group["ecg"] = signal
            group.attrs["fs"] = np.float32(250 * (number + 1))
            group.attrs["Age"], group.attrs["sex"] = f"{60 + number} years", "female"
            group["labels"] = [1, 0, 1]
        file.attrs["lead_names"], file["subjects"].attrs["unit"] = "I, II", "V"
    recordings = list(formats.open(path))
    assert [r.name for r in recordings] == [f"x.h5#subjects/{number}" for number in range(3)]
    assert [r.sample_rate_hz for r in recordings] == [250, 500, 750]
    assert [r.patient.age_years for r in recordings] == [60, 61, 62]
    assert {r.patient.male for r in recordings} == {False}
    for signal, recording in zip(signals, recordings, strict=True):
        assert recording.lead_names == ("I", "II")
        want = (signal if shape[0] == 2 else signal.T) * 1000
        np.testing.assert_array_equal(everything(recording), want.astype("f4"))


def test_recordings_in_the_root_have_their_own_attributes(path):
    with create(path) as file:
        for number in range(2):
            file[f"rec{number}"] = noise(700 + number)
            file[f"rec{number}"].attrs.update({"Sampling_Frequency": "200 Hz", "units": "mV"})
    recordings = list(formats.open(path))
    assert [(r.part, r.num_samples) for r in recordings] == [("rec0", 700), ("rec1", 701)]
    assert {r.sample_rate_hz for r in recordings} == {200}


def test_a_data_set_for_each_lead(path):
    write(path, {"fs": 500, "units": "mV"}, a__II=noise(900), a__V1=noise(900, seed=1), a__x=[1.0])
    (recording,) = formats.open(path)
    assert (recording.part, recording.lead_names) == ("a", ("II", "V1"))
    want = np.stack([noise(900), noise(900, seed=1)])[:, 5:80]
    np.testing.assert_array_equal(recording.read(5, 75), want.astype("f4"))
    write(path, {"fs": 500}, a__II=noise(900), a__V1=noise(901))
    assert refusal(path).problem == "wrong_length"


@pytest.mark.parametrize("suffix", [".hdf5", ".hdf", ".hd5", ".H5"])
def test_other_suffixes(path, suffix):
    write(path.with_suffix(suffix), {"fs": 500}, ecg=noise(600))
    assert [p.suffix for p in formats.find(path.parent)] == [suffix]
    (recording,) = formats.open(path.with_suffix(suffix))
    assert recording.num_samples == 600


@pytest.mark.parametrize("name", ["x", "X", "I"])
def test_the_name_of_an_array_of_several_leads_names_none_of_them(path, name):
    names = ("II", "V1", "V6")
    stack = noise(2, 600, 3)
    write(path, {"fs": 500}, **{name: stack, "y": np.arange(2)})
    for hints, want in ((Hints(), ("",) * 3), (Hints(lead_names=names), names)):
        recordings = list(formats.open(path, hints))
        assert [recording.lead_names for recording in recordings] == [want] * 2
        np.testing.assert_array_equal(everything(recordings[1]), stack[1].T.astype("f4"))
    write(path, {"fs": 500}, **{name: stack[0]})
    (recording,) = formats.open(path, Hints(lead_names=names))
    assert recording.lead_names == names


def test_a_single_lead_has_the_name_of_its_array_unless_that_is_x(path):
    for name, want, shape in (("I", "I", 600), ("I", "I", (600, 1)), ("x", "V5", 600)):
        write(path, {"fs": 500}, **{name: noise(*np.atleast_1d(shape))})
        (recording,) = formats.open(path, Hints(lead_names=("V5",)))
        assert recording.lead_names == (want,)


def test_the_data_sets_of_leads_have_their_own_attributes(path):
    units, gains = {"II": "uV", "V1": "mV"}, {"II": 200, "V1": 400}
    with create(path) as file:
        file.attrs["units"] = "V"
        for number, lead in enumerate(units):
            for group, stated in (("a", {"units": units[lead]}), ("b", {"gain": gains[lead]})):
                array = file.create_dataset(f"{group}/{lead}", data=noise(900, seed=number))
                array.attrs.update({"fs": 250.0, **stated})
            file.create_dataset(f"c/{lead}", data=noise(900, seed=number)).attrs["fs"] = 250
        file["b"].attrs["units"] = "mV"
        file["c/II"].attrs["units"] = "mV"  # the other lead states none
    a, b, c = formats.open(path, Hints(units="V"))
    assert {one.sample_rate_hz for one in (a, b, c)} == {250}
    assert {one.lead_names for one in (a, b, c)} == {("II", "V1")}
    stored = np.stack([noise(900), noise(900, seed=1)])
    for recording, factors in ((a, (1e-3, 1)), (b, (1 / 200, 1 / 400)), (c, (1e3, 1e3))):
        assert recording.unit_known
        want = stored * np.array(factors)[:, None]
        np.testing.assert_allclose(everything(recording), want, rtol=2e-6)


@pytest.mark.parametrize(
    ("kind", "attributes", "factor", "shift"),
    [
        ("i2", {"units": "uV"}, 1e-3, 0),
        ("i2", {"gain": 250, "units": "mV"}, 1 / 250, 0),
        ("i2", {"adc_gain": [100, 400], "baseline": [5, -6]}, [0.01, 0.0025], [-0.05, 0.015]),
        ("f4", {"adc_gain": 200, "units": "mV"}, 1, 0),
        ("u2", {"scale_factor": 2.5, "add_offset": 100, "units": "uV"}, 2.5e-3, 0.1),
        ("f4", {"units": ["mV", "V"]}, [1, 1000], 0),
    ],
)
def test_amplitudes_are_scaled_by_what_the_file_states(path, kind, attributes, factor, shift):
    signal = (noise(2, 600) * 100 + 500).astype(kind)
    write(path, {"fs": 500, **attributes}, ecg=signal)
    (recording,) = formats.open(path, Hints(units="V"))
    assert recording.unit_known
    factor, shift = (np.atleast_1d(value)[:, None] for value in (factor, shift))
    np.testing.assert_allclose(everything(recording), signal * factor + shift, rtol=2e-6)


def test_contradicting_metadata_is_refused(path):
    stack = {"ecg": noise(2, 2, 600)}
    write(path, {"fs": 500, "gain": [100, 200]}, **stack)
    assert refusal(path).problem == "ambiguous_shape"
    write(path, {"fs": [500, 500, 500]}, **stack)
    assert refusal(path).problem == "wrong_length"
    write(path, {"fs": 500}, **stack, ids=[1, 2, 3])
    assert refusal(path).problem == "wrong_length"
    write(path, {"fs": 500, "leads": ["I", "II", "III"]}, **stack)
    assert refusal(path).problem == "lead_count"
    write(path, {"fs": -5}, **stack)
    assert refusal(path).problem == "wrong_rate"
    write(path, {"fs": 500, "units": "bpm"}, **stack)
    assert refusal(path).problem == "wrong_units"
    write(path, {"fs": 500, "gain": 0}, ecg=np.ones((2, 600), int))
    assert refusal(path).problem == "wrong_units"
    write(path, labels=[1, 2], fs=[500])
    assert refusal(path).problem == "no_ecg_lead"
