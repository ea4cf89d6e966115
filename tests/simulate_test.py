"""The cohort on disk has the right layout, is readable and deterministic."""

import csv
import errno
import gzip
import hashlib
import io
import os
import time
import warnings

import numpy as np
import pytest
from culprits import assert_names, refuses
from fault_costs import lost_bytes, seconds_to_end, user_bytes

from clef_jax import simulate as simulate_command
from clef_jax.signal import adc
from clef_jax.simulate import SimulateConfig, main, simulate
from clef_jax.simulation import defect, hospital, tree
from clef_jax.simulation.recording import LEADS

PATIENTS = 12
MULTIPLIER = 25.0


def write(folder, patients=PATIENTS, seed=3):
    config = SimulateConfig(
        out=folder, patients=patients, seed=seed, defect_rate_multiplier=MULTIPLIER
    )
    return simulate(config)


@pytest.fixture(scope="module")
def wfdb():
    with warnings.catch_warnings():  # wfdb uses an argument that pandas will remove
        warnings.simplefilter("ignore")
        import wfdb
    return wfdb


def table(path):
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return list(csv.DictReader(io.StringIO(text)))


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort") / "mimic"
    return folder, write(folder)


def test_layout_is_that_of_mimic_iv_ecg(cohort):
    folder, counts = cohort
    records = table(folder / "record_list.csv")
    assert counts.patients == PATIENTS
    assert counts.records == len(records) > PATIENTS
    assert (folder / "RECORDS").read_text().split() == [row["path"] for row in records]
    for row in records:
        subject, study = row["subject_id"], row["study_id"]
        assert row["path"] == f"files/p{subject[:4]}/p{subject}/s{study}/{study}"
        assert 2110 <= int(row["ecg_time"][:4]) <= 2200
        stem = folder / row["path"]
        assert stem.with_suffix(".dat").stat().st_size == 2 * 12 * 5000
        assert stem.with_suffix(".hea").is_file()
    assert len({row["study_id"] for row in records}) == len(records)
    waveforms = {p.with_suffix("") for p in (folder / "files").rglob("*.*")}
    assert waveforms == {folder / row["path"] for row in records}


def test_every_table_has_its_columns(cohort):
    folder, counts = cohort
    measurements = table(folder / "machine_measurements.csv")
    assert len(measurements) == counts.records
    assert len(measurements[0]) == 33  # as in MIMIC-IV-ECG 1.0
    assert measurements[0]["filtering"] == "60 Hz notch Baseline filter"
    for name, columns in hospital.COLUMNS.items():
        with gzip.open(folder / f"hosp/{name}.csv.gz", "rt") as file:
            assert file.readline() == columns + "\n"
    subjects = [row["subject_id"] for row in table(folder / "hosp/patients.csv.gz")]
    assert subjects == sorted(set(subjects))
    assert len(subjects) == PATIENTS
    for name in ("admissions", "diagnoses_icd", "omr", "labevents"):
        rows = table(folder / f"hosp/{name}.csv.gz")
        assert rows
        assert {row["subject_id"] for row in rows} <= set(subjects)
    assert all("." not in row["icd_code"] for row in table(folder / "hosp/diagnoses_icd.csv.gz"))


def test_wfdb_reads_every_record(cohort, wfdb):
    folder, _ = cohort
    for row in table(folder / "record_list.csv"):
        record = wfdb.rdrecord(str(folder / row["path"]), physical=False)
        assert tuple(record.sig_name) == LEADS
        assert (record.fs, record.sig_len, record.n_sig) == (500, 5000, 12)
        assert record.fmt == ["16"] * 12
        assert record.adc_gain == [200.0] * 12
        assert record.baseline == [0] * 12
        assert record.units == ["mV"] * 12
        assert str(record.base_datetime) == row["ecg_time"]
        samples = np.fromfile(str(folder / row["path"]) + ".dat", "<i2").reshape(5000, 12)
        np.testing.assert_array_equal(record.d_signal, samples)
        assert record.init_value == samples[0].tolist()
        sums = samples.astype(np.int64).sum(axis=0)
        assert record.checksum == sums.astype(np.uint64).astype(np.uint16).view(np.int16).tolist()


def test_planted_defects_are_in_the_files_and_nowhere_else(cohort, wfdb):
    folder, counts = cohort
    planted = {row["path"]: row for row in table(tree.planted_path(folder))}
    assert counts.defects == len(planted) > 0
    for row in table(folder / "record_list.csv"):
        stored = wfdb.rdrecord(str(folder / row["path"]), physical=False).d_signal.T
        found = {
            "nan_run": (stored == adc.MISSING_ADC).any(axis=1),
            "flat_lead": (stored == 0).all(axis=1),
            "rail_run": (np.abs(stored.astype(int)) == defect.RAIL_ADC).any(axis=1),
        }
        seen = {(kind, LEADS[lead]) for kind in found for lead in np.flatnonzero(found[kind])}
        expected = planted.get(row["path"])
        assert seen == ({(expected["defect"], expected["lead"])} if expected else set())


def test_missing_samples_read_as_nan(cohort, wfdb):
    folder, _ = cohort
    planted = [r for r in table(tree.planted_path(folder)) if r["defect"] == "nan_run"]
    record = wfdb.rdrecord(str(folder / planted[0]["path"]))
    nans = np.isnan(record.p_signal).sum(axis=0)
    assert 20 <= nans[LEADS.index(planted[0]["lead"])] < 500
    assert (nans > 0).sum() == 1


def test_same_seed_gives_the_same_bytes(cohort, tmp_path):
    folder, _ = cohort
    write(tmp_path / "again")
    assert digests(tmp_path / "again") == digests(folder)
    planted = tree.planted_path(tmp_path / "again").read_bytes()
    assert planted == tree.planted_path(folder).read_bytes()


def test_another_seed_gives_other_bytes(cohort, tmp_path):
    folder, _ = cohort
    write(tmp_path / "other", patients=1, seed=4)
    first = table(folder / "record_list.csv")[0]["path"]
    other = table(tmp_path / "other" / "record_list.csv")[0]["path"]
    assert (folder / f"{first}.dat").read_bytes() != (tmp_path / f"other/{other}.dat").read_bytes()


def test_larger_cohort_begins_with_the_smaller_one(cohort, tmp_path):
    folder, _ = cohort
    write(tmp_path / "small", patients=5)
    small, large = digests(tmp_path / "small"), digests(folder)
    waveforms = [name for name in small if name.startswith("files/")]
    assert waveforms
    assert all(small[name] == large[name] for name in waveforms)
    for name in ("record_list.csv", "machine_measurements.csv", "hosp/labevents.csv.gz"):
        rows = table(tmp_path / "small" / name)
        assert rows == table(folder / name)[: len(rows)]


def test_folder_that_is_not_ours_is_left_alone(tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("keep me")
    for arguments in ([], ["--overwrite"]):
        with pytest.raises(SystemExit) as exit_info:
            main([f"--out={tmp_path}", "--patients=1", *arguments])
        assert exit_info.value.code == 1
        shown = capsys.readouterr().err
        assert_names(shown, tmp_path, "--out")
        assert "--overwrite" not in shown
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_simulated_cohort_is_replaced_only_when_asked(tmp_path, capsys):
    arguments = [f"--out={tmp_path / 'c'}", "--patients=1"]
    main(arguments)
    assert_names(capsys.readouterr().out, "1")
    (tmp_path / "c" / "left_over").write_text("")
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 1
    assert "--overwrite" in capsys.readouterr().err
    main([*arguments, "--overwrite"])
    assert not (tmp_path / "c" / "left_over").exists()


@pytest.mark.parametrize(
    "argument",
    [
        "--patients=0",
        "--patients=160001",
        "--seed=-1",
        "--records-per-patient=0.5",
        "--defect-rate-multiplier=60",
    ],
)
def test_senseless_settings_are_refused_with_a_sentence(argument, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([f"--out={tmp_path / 'c'}", argument])
    assert exit_info.value.code == 2
    assert argument.split("=")[0] in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


@pytest.fixture
def failing(monkeypatch):
    """Makes the second patient fail with an error; returns a function that sets the error."""

    def fail_with(error):
        write_patient = simulate_command.write_patient

        def fail(config, index, cohort):
            if index == 1:
                raise error
            return write_patient(config, index, cohort)

        monkeypatch.setattr(simulate_command, "write_patient", fail)

    yield fail_with
    monkeypatch.undo()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("exists", [True, False])
def test_an_interrupted_run_leaves_nothing(exists, tmp_path, failing):
    if exists:
        (tmp_path / "c").mkdir()
    failing(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "c", patients=2)
    assert not list(tmp_path.glob("*/*"))
    assert names(tmp_path) == (["c"] if exists else [])


@pytest.mark.faults
def test_a_full_disk_is_told_and_leaves_the_cohort_that_was_there(tmp_path, failing, fault_log):
    write(tmp_path / "c", patients=1)
    before = digests(tmp_path)
    at_first = user_bytes(tmp_path)
    failing(OSError(errno.ENOSPC, "No space left on device"))
    begin = time.monotonic()
    with refuses(tmp_path / "c", os.strerror(errno.ENOSPC), problem="not_written"):
        simulate(SimulateConfig(out=tmp_path / "c", patients=2, overwrite=True))
    seconds_to_end.append(time.monotonic() - begin)
    assert digests(tmp_path) == before
    fault_log(lost_bytes=lost_bytes(at_first, tmp_path))


def test_what_a_killed_run_left_is_removed(tmp_path):
    for left in (tmp_path / "c" / ".half", tmp_path / ".d.half"):
        left.mkdir(parents=True)
        (left / "part").write_text("")
    for name in ("c", "d"):
        simulate(SimulateConfig(out=tmp_path / name, patients=1))
        assert "record_list.csv" in names(tmp_path / name)
    assert not [path for path in tmp_path.rglob("*") if path.name == "part" or "half" in path.name]


def test_another_file_of_the_name_of_the_list_of_faults_is_kept(tmp_path):
    (tmp_path / "planted_c.csv").write_text("my trees")
    with refuses(tmp_path / "planted_c.csv"):
        write(tmp_path / "c", patients=1)
    assert names(tmp_path) == ["planted_c.csv"]
    assert (tmp_path / "planted_c.csv").read_text() == "my trees"


@pytest.mark.parametrize("dataset", ["mimic_iv_ecg", "cinc2017"])
def test_no_folder_gets_the_name_of_a_file(tmp_path, capsys, dataset):
    with pytest.raises(SystemExit):
        main([f"--out={tmp_path / 'cohort.zip'}", "--patients=2", f"--dataset={dataset}"])
    assert_names(capsys.readouterr().err, "cohort.zip")
    assert list(tmp_path.iterdir()) == []
