"""Tests which pressures, cholesterols and codes are used for a recording, on small tables.

The real tables of 100 patients are compared with an independent lookup, where they are at hand.
"""

import csv
import gzip
import pathlib
import shutil

import numpy as np
import pytest
from culprits import refuses
from mimic_iv_ecg_test import build, examples
from mimic_tree import Tree, ecg, write_record
from prepared import findings, problems

from clef_jax import risk
from clef_jax.building.clinical import Settings
from clef_jax.data import index

DEMO = pathlib.Path(__file__).parents[2] / "shared" / "data" / "mimic_iv_demo"
SUBJECT = 10_000_001
DAY = "2150-06-01"


@pytest.fixture
def tree(tmp_path):
    made = Tree(tmp_path / "source")
    made.record_id = made.add(SUBJECT, 1, time=f"{DAY} 12:00:00")
    made.add_person(SUBJECT, "M", age=60, year=2148)
    return made


def only_example(tree, tmp_path, **options):
    return examples(build(tree.write(), tmp_path / "data", **options))[tree.record_id]


def pressure(tree, *rows):
    for day, name, value in rows:
        tree.tables["omr"].append(f"{SUBJECT},{day},1,{name},{value}")


def lab(tree, item, time, value, unit="mg/dL"):
    tree.tables["labevents"].append(f"{SUBJECT},1,{item},{time},,{value},{value},{unit}")


def code(tree, hadm, time, icd, version):
    tree.tables["admissions"].append(f"{SUBJECT},{hadm},{time},")
    tree.tables["diagnoses_icd"].append(f"{SUBJECT},{hadm},1,{icd},{version}")


def test_age_and_sex(tree, tmp_path):
    stored = only_example(tree, tmp_path)
    assert stored["age_years"] == 62  # anchored in 2148
    assert stored["male"] == 1
    assert np.isnan(stored["risk"])  # nobody in the cohort has a pressure to fill in
    np.testing.assert_allclose(stored["completeness"], 2 / 6)


@pytest.mark.parametrize(
    ("anchor_age", "anchor_year", "age_years", "masked"),
    [
        (89, 2150, 89, False),
        (88, 2148, 90, True),  # 90 at the recording
        (91, 2150, 90, True),  # the source's code for all anchor ages over 89
        (91, 2140, 90, True),
        (91, 2120, 90, True),  # at least 120, the highest plausible age
        (91, 2155, 85, True),  # at least 90 five years later
        (80, 2155, 75, False),
    ],
)
def test_ages_over_89_are_masked(anchor_age, anchor_year, age_years, masked, tree, tmp_path):
    tree.tables["patients"] = []
    tree.add_person(SUBJECT, "F", anchor_age, anchor_year)
    made = build(tree.write(), tmp_path / "data")
    assert examples(made)[tree.record_id]["age_years"] == age_years
    assert problems(made) == ({(tree.record_id, "masked_age", "kept")} if masked else set())


def test_a_subject_without_patients_row(tree, tmp_path):
    tree.tables["patients"] = []
    stored = only_example(tree, tmp_path)
    assert np.isnan(stored["age_years"])
    assert np.isnan(stored["male"])
    assert np.isnan(stored["risk"])
    assert stored["completeness"] == 0


BP = "Blood Pressure"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("2150-05-01", BP, "130/80"), ("2150-05-20", BP, "140/80")], 140),
        ([("2150-05-01", BP, "130/80"), ("2150-06-03", BP, "150/80")], 150),  # later, but nearer
        ([("2149-08-01", BP, "130/80"), (DAY, f"{BP} Standing (1 min)", "110/70")], 130),
        ([("2149-08-01", BP, "130/80"), (DAY, f"{BP} Sitting", "120/70")], 120),
        ([(DAY, f"{BP} Lying", "115/70")], 115),
        ([("2149-06-01", BP, "130/80")], 130),  # 365 days before
        ([("2149-05-31", BP, "130/80")], None),  # 366
        ([("2151-06-01", BP, "130/80")], 130),
        ([("2151-06-02", BP, "130/80")], None),
        (
            [("2150-05-30", BP, "130/80"), ("2150-06-03", BP, "150/80")],
            130,
        ),
        ([(DAY, BP, "120/"), ("2150-05-01", BP, "131/80")], 131),
        ([(DAY, BP, "___/70")], None),
        ([(DAY, BP, "0/0"), (DAY, BP, "700/80"), ("2150-01-01", BP, "132/80")], 132),
        ([(DAY, BP, "80/120")], None),
        ([(DAY, "Weight (Lbs)", "180")], None),
        ([("no date", BP, "130/80")], None),
    ],
)
def test_blood_pressure(rows, expected, tree, tmp_path):
    pressure(tree, *rows)
    sbp_mmhg = only_example(tree, tmp_path)["sbp_mmhg"]
    assert np.isnan(sbp_mmhg) if expected is None else sbp_mmhg == expected


@pytest.mark.parametrize(
    ("rows", "total", "hdl"),
    [
        ([(50907, f"{DAY} 08:00:00", 200), (50904, f"{DAY} 08:00:00", 50)], 200, 50),
        ([(50907, "2149-01-01 08:00:00", 180), (50907, "2150-07-01 08:00:00", 200)], 200, None),
        ([(50907, "2148-06-01 08:00:00", 180)], 180, None),  # 730 days before
        ([(50907, "2148-05-31 08:00:00", 180)], None, None),
        ([(50907, f"{DAY} 08:00:00", 100), (50904, f"{DAY} 08:00:00", 120)], None, None),
        ([(50907, f"{DAY} 08:00:00", 0), (50907, "2150-01-01 08:00:00", 190)], 190, None),
        ([(50907, f"{DAY} 08:00:00", "<10")], None, None),
        ([(50902, f"{DAY} 08:00:00", 200)], None, None),
    ],
)
def test_cholesterol(rows, total, hdl, tree, tmp_path):
    for item, time, value in rows:
        lab(tree, item, time, value)
    stored = only_example(tree, tmp_path)
    for name, value in (("total_cholesterol_mmol_l", total), ("hdl_mmol_l", hdl)):
        want = np.nan if value is None else np.float32(value / 38.67)
        np.testing.assert_array_equal(stored[name], want)


def test_cholesterol_in_other_units_is_left_out(tree, tmp_path):
    lab(tree, 50907, f"{DAY} 08:00:00", 200, unit="g/L")
    assert np.isnan(only_example(tree, tmp_path)["total_cholesterol_mmol_l"])


@pytest.mark.parametrize(
    ("time", "icd", "version", "smoker", "diabetes"),
    [
        ("2140-01-01 00:00:00", "F17210", 10, 1, None),
        ("2150-07-01 12:00:00", "Z720", 10, 1, None),  # 30 days after
        ("2150-07-01 12:00:01", "Z720", 10, None, None),
        (f"{DAY} 00:00:00", "3051", 9, 1, None),
        (f"{DAY} 00:00:00", "3051", 10, None, None),
        (f"{DAY} 00:00:00", "F17211", 10, 0, None),  # in remission
        (f"{DAY} 00:00:00", "Z87891", 10, 0, None),
        (f"{DAY} 00:00:00", "V1582", 9, 0, None),
        (f"{DAY} 00:00:00", "E119", 10, None, 1),
        (f"{DAY} 00:00:00", "25000", 9, None, 1),
        (f"{DAY} 00:00:00", "E119", 9, None, None),
        (f"{DAY} 00:00:00", "I10", 10, None, None),
    ],
)
def test_codes(time, icd, version, smoker, diabetes, tree, tmp_path):
    code(tree, 5, time, icd, version)
    stored = only_example(tree, tmp_path)
    np.testing.assert_array_equal(stored["smoker"], np.nan if smoker is None else smoker)
    np.testing.assert_array_equal(stored["diabetes"], np.nan if diabetes is None else diabetes)


@pytest.mark.parametrize(
    ("codes", "smoker"),
    [
        ([("2149-01-01", "F17210"), ("2150-01-01", "Z87891")], 0),
        ([("2149-01-01", "Z87891"), ("2150-01-01", "F17210")], 1),
        ([("2150-05-01", "F17210"), ("2150-06-10", "Z87891")], 0),  # later, but nearer
        ([("2150-05-01", "F17210"), ("2150-07-10", "Z87891")], 1),  # more than 30 days later
        ([("2149-01-01", "F17210"), ("2150-01-01", "E119")], 1),  # no code of smoking
        ([("2150-05-31 12:00:00", "Z87891"), ("2150-06-02 12:00:00", "F17210")], 1),  # equally near
    ],
)
def test_the_smoking_codes_of_the_nearest_admission_decide(codes, smoker, tree, tmp_path):
    for number, (time, icd) in enumerate(codes):
        code(tree, number, time if " " in time else f"{time} 00:00:00", icd, 10)
    assert only_example(tree, tmp_path)["smoker"] == smoker


def test_within_one_admission_a_current_code_wins(tree, tmp_path):
    for icd in ("Z87891", "F17210"):
        code(tree, 5, "2149-01-01 00:00:00", icd, 10)
    assert only_example(tree, tmp_path)["smoker"] == 1


def test_a_cholesterol_without_a_number_is_missing_and_counted(tree, tmp_path):
    lab(tree, 50907, f"{DAY} 08:00:00", 97)
    lab(tree, 50904, f"{DAY} 08:00:00", "")
    made = build(tree.write(), tmp_path / "data")
    stored = examples(made)[tree.record_id]
    assert np.isnan(stored["hdl_mmol_l"])
    assert stored["total_cholesterol_mmol_l"] == np.float32(97 / 38.67)
    assert problems(made) == {(tree.record_id, "censored", "kept")}
    assert made.summary.coverage["values excluded as censored"].startswith("1 ")
    assert made.summary.coverage["values excluded as implausible"].split(", ")[1].startswith("0 ")


def test_a_cholesterol_with_a_number_is_used_instead_of_a_nearer_one_without(tree, tmp_path):
    lab(tree, 50904, f"{DAY} 08:00:00", "")
    lab(tree, 50904, "2150-01-01 08:00:00", 50)
    made = build(tree.write(), tmp_path / "data")
    assert examples(made)[tree.record_id]["hdl_mmol_l"] == np.float32(50 / 38.67)
    assert not findings(made)


def add_better_known(tree):
    """Adds a later recording of the patient, with a pressure; returns its id."""
    later = tree.add(SUBJECT, 2, time="2153-01-01 12:00:00")
    tree.add(SUBJECT, 3, time="2153-01-02 12:00:00")
    pressure(tree, ("2153-01-01", BP, "140/80"))
    return later


def test_the_preferred_recording_of_each_patient(tree, tmp_path):
    later = add_better_known(tree)
    flat = np.zeros((12, 5000), np.int16)
    tree.add(SUBJECT, 4, time="2152-12-31 12:00:00", signal=flat)
    source = tree.write()
    for prefer, record_id in (("earliest", tree.record_id), ("best_known", later)):
        data_dir = tmp_path / prefer
        made = build(source, data_dir, config="one_per_patient", prefer=prefer)
        assert list(examples(made)) == [record_id]
        split_index = index.load(made.data_path, next(iter(made.info.splits)))
        assert split_index.settings["prefer"] == prefer
        line = made.summary.coverage["patients with sbp_mmhg"]
        assert line == "0 (0.0 %) earliest, 1 (100.0 %) best_known"


def test_all_recordings_need_no_preference(tree, tmp_path):
    with refuses("mimic_iv_ecg/all_records", "--prefer"):
        build(tree.write(), tmp_path / "data", prefer="best_known")


def test_a_table_in_a_folder_of_its_name(tree, tmp_path):
    pressure(tree, (DAY, BP, "140/80"))
    source = tree.write()
    for name, inside in (("patients", "patients.csv"), ("omr", "omr_export.csv")):
        packed = source / "hosp" / f"{name}.csv.gz"
        folder = source / "hosp" / f"{name}.csv"
        folder.mkdir()
        (folder / inside).write_bytes(gzip.decompress(packed.read_bytes()))
        (folder / "readme.txt").write_text("Unpacked.")
        packed.unlink()
    stored = examples(build(source, tmp_path / "data"))[tree.record_id]
    assert (stored["age_years"], stored["sbp_mmhg"]) == (62, 140)


@pytest.mark.skipif(not DEMO.is_dir(), reason="the real tables are not beside the project")
def test_the_real_tables_give_the_values_of_an_independent_lookup(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(DEMO / "hosp", source / "hosp")
    listed = (DEMO / "record_list_110.csv").read_text()
    (source / "record_list.csv").write_text(listed)
    for row in csv.DictReader(listed.splitlines()):
        write_record(source / row["path"], ecg(0))
    made = build(source, tmp_path / "data")
    stored = examples(made)
    expected = list(csv.DictReader((DEMO / "expected_110.csv").read_text().splitlines()))
    assert len(stored) == len(expected) == 110
    for row in expected:
        record_id = row.pop("path")
        for name, text in row.items():
            want = float(text) if text else np.nan
            np.testing.assert_allclose(stored[record_id][name], want, 1e-5, err_msg=record_id)
    masked = {f["record_id"] for f in findings(made) if f["problem"] == "masked_age"}
    assert masked == {row_id for row_id, e in stored.items() if e["age_years"] == 90}
    assert made.summary.coverage["values excluded as censored"].startswith("2 ")


def full(tree):
    """Two men and a woman; the second man and the woman lack values that the first man has."""
    pressure(tree, (DAY, BP, "140/80"))
    lab(tree, 50907, f"{DAY} 08:00:00", 200)
    lab(tree, 50904, f"{DAY} 08:00:00", 50)
    code(tree, 5, f"{DAY} 00:00:00", "F17210", 10)
    tree.add(SUBJECT + 1, 2, time=f"{DAY} 12:00:00")
    tree.add_person(SUBJECT + 1, "M", age=17, year=2150)
    tree.add(SUBJECT + 2, 3, time=f"{DAY} 12:00:00")
    tree.add_person(SUBJECT + 2, "F", age=70, year=2150)
    return tree


def test_risk_with_missing_values_filled(tree, tmp_path):
    made = build(full(tree).write(), tmp_path / "data", clinical=Settings(region="high"))
    stored = {e["patient_id"].decode(): e for e in examples(made).values()}
    values = {
        "sbp_mmhg": 140,
        "total_cholesterol_mmol_l": 200 / 38.67,
        "hdl_mmol_l": 50 / 38.67,
        "region": "high",
        "male": 1,
    }
    first, second, woman = (stored[str(SUBJECT + n)] for n in range(3))
    np.testing.assert_allclose(first["risk"], risk.score2(age_years=62, smoker=1, **values), 1e-6)
    assert first["completeness"] == 1
    assert not first["risk_extrapolated"]
    np.testing.assert_allclose(second["risk"], risk.score2(age_years=40, smoker=0, **values), 1e-6)
    np.testing.assert_allclose(second["completeness"], 2 / 6)
    assert second["risk_extrapolated"]
    assert np.isnan(second["sbp_mmhg"])  # stored as observed
    assert np.isnan(woman["risk"])  # no woman in the cohort has a pressure
    assert made.info.metadata["clinical"]["region"] == "high"
    split = next(iter(made.info.splits))
    assert index.load(made.data_path, split).settings["score"] == "score2"


def test_cohort_quantiles_are_of_the_training_patients_first_recordings(tree, tmp_path):
    for number in range(1, 120):
        tree.add(SUBJECT + number, 1 + number, time=f"{DAY} 12:00:00")
        tree.add_person(SUBJECT + number, "M", age=30 + number % 60, year=2150)
    tree.add(SUBJECT + 1, 500, time="2155-01-01 00:00:00")
    made = build(full(tree).write(), tmp_path / "data")
    split_index = index.load(made.data_path, "train")
    first = split_index.risk[split_index.patient_offset[:-1]]
    want = np.nanquantile(first.astype(float), np.linspace(0, 1, 101))
    np.testing.assert_allclose(split_index.cohort_quantiles, want, rtol=1e-6)
    np.testing.assert_allclose(made.info.metadata["cohort_quantiles"], want, rtol=1e-6)
    assert split_index.num_patients < split_index.num_records


@pytest.mark.parametrize(("value", "words"), [(0.07, "a fraction"), (7, "percent")])
def test_ready_risks_from_a_table(value, words, tree, tmp_path):
    other, old = tree.add(SUBJECT + 1, 2), tree.add(SUBJECT + 2, 3)
    table = tmp_path / "metadata.csv"
    table.write_text(
        "path,gender,anchor_age,age_at_ecg,Blood Pressure,rate_meta,score2_risk\n"
        f"{tree.record_id},F,60,61.5,120/70,0.25,{value}\n"
        f"{old},M,91,92,12/7,0.25,{value}\n"
        f"files/elsewhere,M,50,51,130/80,0.1,{value / 2}\n"
    )
    made = build(tree.write(hosp=False), tmp_path / "data", clinical_source=str(table))
    stored = examples(made)
    np.testing.assert_allclose(stored[tree.record_id]["risk"], 0.07, rtol=1e-6)
    assert stored[tree.record_id]["completeness"] == 0.75
    assert stored[tree.record_id]["age_years"] == 61.5
    assert stored[tree.record_id]["male"] == 0
    assert stored[tree.record_id]["sbp_mmhg"] == 120
    assert np.isnan(stored[other]["risk"])
    assert stored[other]["completeness"] == 0
    assert stored[old]["age_years"] == 90
    assert np.isnan(stored[old]["sbp_mmhg"])
    assert problems(made) == {(old, "masked_age", "kept")}
    assert made.summary.coverage["values excluded as implausible"].startswith("1 ")
    assert made.summary.coverage["score2_risk was read as"] == words


def test_tables_elsewhere_and_uncompressed(tree, tmp_path):
    pressure(tree, (DAY, BP, "140/80"))
    source = tree.write(hosp=False)
    tree.write_tables(tmp_path / "mimiciv" / "hosp")
    for path in (tmp_path / "mimiciv" / "hosp").iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    for number, given in enumerate(("mimiciv", "mimiciv/hosp")):
        options = {"clinical_source": str(tmp_path / given)}
        made = build(source, tmp_path / f"data{number}", **options)
        assert examples(made)[tree.record_id]["sbp_mmhg"] == 140


def test_no_tables_at_all_is_told(tree, tmp_path):
    with refuses("--clinical-source=none", problem="no_tables"):
        build(tree.write(hosp=False), tmp_path / "data")


def test_a_missing_table_is_told(tree, tmp_path):
    source = tree.write()
    (source / "hosp" / "omr.csv.gz").unlink()
    with refuses(source / "hosp" / "omr.csv.gz", "physionet.org", problem="missing_file"):
        build(source, tmp_path / "data")


def test_a_truncated_table_is_told(tree, tmp_path):
    for number in range(100_000):
        tree.tables["labevents"].append(f"{SUBJECT},{number},50907,{DAY} 00:00:00,,,{number},mg/dL")
    source = tree.write()
    path = source / "hosp" / "labevents.csv.gz"
    whole = path.read_bytes()
    for length in (300, len(whole) // 2):
        path.write_bytes(whole[:length])
        with refuses("labevents.csv.gz", problem="unreadable_table"):
            build(source, tmp_path / "data")


def test_unreadable_rows_of_a_table_are_skipped_and_counted(tree, tmp_path):
    pressure(tree, ("2150-01-01", BP, "130/80"))
    tree.tables["omr"].append("garbage")
    pressure(tree, (DAY, BP, "140/80"))
    made = build(tree.write(), tmp_path / "data")
    assert examples(made)[tree.record_id]["sbp_mmhg"] == 140
    assert made.summary.coverage["unreadable rows of omr.csv.gz"] == "1"
