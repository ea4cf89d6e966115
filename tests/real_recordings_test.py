"""Real recordings, where they are at hand: in a folder `shared/data` beside the project."""

import importlib.util
import pathlib
import warnings

import numpy as np
import pandas as pd
import prepared
import pytest
from matplotlib.figure import Figure

from clef_jax.leads import STANDARD_12
from clef_jax.page import ecg_paper
from clef_jax.signal.adc import MISSING_ADC
from clef_jax.simulation import fixture
from clef_jax.wfdb import annotation as wfdb_annotation, record as wfdb_record

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"
pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason="there are no real recordings beside the project"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def materialise():
    spec = importlib.util.spec_from_file_location("materialise", DATA / "materialise.py")
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of wfdb, as it is imported
        spec.loader.exec_module(module)
    module.write_record = module.write_record_named = write_quickly
    return module


def write_quickly(folder, name, mv, leads, fs, gain):
    """What wfdb writes, in a tenth of the time; `mv` is in the standard order."""
    order = [[lead.upper() for lead in STANDARD_12].index(lead.upper()) for lead in leads]
    adc = fixture.quantise(mv[order], gain)
    fixture.write_wfdb(folder / name, adc, leads=leads, sample_rate_hz=fs, gain=f"{gain}(0)/mV")


@pytest.fixture(scope="module")
def lay_out(materialise, tmp_path_factory):
    """Lays real recordings out in the form of a data set, once; gives the folder."""
    made = {}

    def write(layout):
        if layout not in made:
            made[layout] = tmp_path_factory.mktemp(layout) / "source"
            made[layout].mkdir()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pandas, about wfdb's writing
                getattr(materialise, layout)(made[layout], DATA)
        return made[layout]

    return write


def prepare(source, dataset, data_dir):
    """The builder after preparing, its examples by record id, and its findings."""
    made = prepared.build(dataset, source, data_dir, workers=2)
    return made, prepared.examples(made), prepared.findings(made)


def names(values):
    return {value.decode() for value in values}


def millivolts(example):
    adc = example["signal"].astype(float)
    mv = (adc - example["baseline"][:, None]) / example["gain_per_mv"][:, None]
    return np.where(adc == MISSING_ADC, np.nan, mv)


@pytest.mark.parametrize("rate", [100, 500])
def test_ptb_xl(rate, materialise, lay_out, tmp_path):
    made, examples, _ = prepare(lay_out("ptb_xl"), f"ptb_xl/{rate}hz", tmp_path)
    signals, labels = materialise.load("ptbxl", DATA)
    assert len(examples) == len(labels) == made.summary.num_listed
    tag = {100: "records100/{}/{:05d}_lr", 500: "records500/{}/{:05d}_hr"}[rate]
    for signal, row in zip(signals, labels.itertuples(), strict=True):
        example = examples[tag.format(f"{row.ecg_id // 1000 * 1000:05d}", row.ecg_id)]
        wanted = {c for c in ("NORM", "MI", "STTC", "CD", "HYP") if getattr(row, c)}
        assert names(example["superdiagnostic"]) == wanted
        assert names(example["scp_codes"]) == set(row.scp.split())
        assert example["strat_fold"] == row.strat_fold
        assert example["split"] == "train"  # folds 1 to 8
        assert example["age_years"] == (90 if row.age == 300 else row.age)
        assert example["male"] == 1 - row.sex
        assert example["patient_id"].decode() == str(row.patient_id)
        if rate == 100:
            np.testing.assert_allclose(millivolts(example), signal / 64 * 0.25, atol=1e-3)


def test_chapman(materialise, lay_out, tmp_path):
    _, examples, _ = prepare(lay_out("chapman"), "chapman", tmp_path)
    signals, labels = materialise.load("cpsc2018", DATA)
    assert len(examples) == len(labels) == 100
    found = [examples[record_id] for record_id in sorted(examples)]
    counts = labels.dx.str.split(",").explode().value_counts()
    frequent = set(counts[counts >= 10].index)
    for example, signal, row in zip(found, signals, labels.itertuples(), strict=True):
        diagnoses = set(row.dx.split(","))
        assert names(example["acronyms"]) == diagnoses
        assert names(example["snomed"]) == {materialise.SNOMED[name] for name in diagnoses}
        assert names(example["diagnoses"]) == diagnoses & frequent
        assert example["age_years"] == row.age
        assert example["male"] == (row.sex == "Male")
        want = materialise.twelve(signal / 1000.0)
        np.testing.assert_allclose(millivolts(example), want, atol=1e-3)


def test_cinc2017(materialise, lay_out, tmp_path):
    _, examples, _ = prepare(lay_out("cinc2017"), "cinc2017", tmp_path)
    signals, labels = materialise.load("cinc2017", DATA)
    assert len(examples) == len(labels) == 200
    for signal, row in zip(signals, labels.itertuples(), strict=True):
        example = examples[row.record]
        assert example["rhythm"].decode() == row.label
        np.testing.assert_array_equal(example["signal"][0], signal[: row.valid])
        assert example["gain_per_mv"] == 1000


def test_every_defect_that_was_planted_into_mimic_is_found(lay_out, tmp_path):
    source = lay_out("mimic")
    _, examples, findings = prepare(source, "mimic_iv_ecg/all_records", tmp_path)
    planted = pd.read_csv(source.parent / "planted_source.csv")
    found = {(f["record_id"], f["problem"], f["lead"]) for f in findings}
    for row in planted.itertuples():
        flattened = ((planted.path == row.path) & (planted.defect == "flat_lead")).any()
        if row.defect == "nan_run" and flattened:
            continue  # the same lead was flattened after the gap had been planted
        assert (row.path, row.defect, row.lead) in found
    assert not [f for f in findings if f["action"] == "quarantined"]
    assert len(examples) == 1822


SUPPORTED = sorted((DATA / "original_files").glob("*/*.hea"))


@pytest.mark.parametrize("header", SUPPORTED, ids=lambda path: path.stem)
def test_untouched_files_read_as_wfdb_reads_them(header, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb
    path = header.with_suffix("")
    ours = wfdb_record.read(path)
    text = header.read_text().splitlines()
    if header.parent.name == "cinc2017":  # wfdb does not take the date before the time
        first = " ".join(text[0].split()[:4])
        (tmp_path / header.name).write_text("\n".join([first, *text[1:]]) + "\n")
        signal = header.with_suffix(".mat")
        (tmp_path / signal.name).write_bytes(signal.read_bytes())
        path = tmp_path / header.stem
    theirs = wfdb.rdrecord(str(path), physical=False)
    np.testing.assert_array_equal(ours.signal, theirs.d_signal.T)
    np.testing.assert_array_equal(ours.baseline, theirs.baseline)
    np.testing.assert_allclose(ours.gain_per_mv, theirs.adc_gain)
    assert ours.lead_names == tuple(theirs.sig_name)
    assert ours.sample_rate_hz == theirs.fs
    assert not ours.bad_checksums or header.parent.name == "cinc2017"
    panel = Figure().subplots()
    ecg_paper.plot(panel, ours.signal / ours.gain_per_mv[:, None], ours.lead_names, theirs.fs)
    assert len(panel.get_lines()) >= ecg_paper.num_rows(ours.lead_names)


def test_annotations_are_those_of_wfdb():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        theirs = wfdb.rdann(str(DATA / "original_files/mitbih/100"), "atr")
    ours = wfdb_annotation.read(DATA / "original_files/mitbih/100")
    np.testing.assert_array_equal(ours.sample, theirs.sample)
    assert list(ours.symbol) == list(theirs.symbol)
    assert [note.strip("\0") for note in theirs.aux_note] == list(ours.note)
