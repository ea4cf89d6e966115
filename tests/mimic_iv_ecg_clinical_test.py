"""Which blood pressure, cholesterol and code counts for a recording, on hand-made tables."""

import gzip

import numpy as np
import pytest
from culprits import refuses
from mimic_iv_ecg_test import build, examples
from mimic_tree import Tree

from clef_jax import risk
from clef_jax.building.clinical import Settings
from clef_jax.data import index

SUBJECT = 10_000_001
DAY = "2150-06-01"


@pytest.fixture
def tree(tmp_path):
    made = Tree(tmp_path / "source")
    made.record_id = made.add(SUBJECT, 1, time=f"{DAY} 12:00:00")
    made.add_person(SUBJECT, "M", age=60, year=2148)
    return made


def one(tree, tmp_path, **options):
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
    found = one(tree, tmp_path)
    assert found["age_years"] == 62  # anchored in 2148
    assert found["male"] == 1
    assert np.isnan(found["risk"])  # nobody in the cohort has a pressure to fill in
    np.testing.assert_allclose(found["completeness"], 2 / 6)


def test_a_subject_without_patients_row(tree, tmp_path):
    tree.tables["patients"] = []
    found = one(tree, tmp_path)
    assert np.isnan(found["age_years"])
    assert np.isnan(found["male"])
    assert np.isnan(found["risk"])
    assert found["completeness"] == 0


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
    found = one(tree, tmp_path)["sbp_mmhg"]
    assert np.isnan(found) if expected is None else found == expected


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
    found = one(tree, tmp_path)
    for name, value in (("total_cholesterol_mmol_l", total), ("hdl_mmol_l", hdl)):
        want = np.nan if value is None else np.float32(value / 38.67)
        np.testing.assert_array_equal(found[name], want)


def test_cholesterol_in_other_units_is_left_out(tree, tmp_path):
    lab(tree, 50907, f"{DAY} 08:00:00", 200, unit="g/L")
    assert np.isnan(one(tree, tmp_path)["total_cholesterol_mmol_l"])


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
    found = one(tree, tmp_path)
    np.testing.assert_array_equal(found["smoker"], np.nan if smoker is None else smoker)
    np.testing.assert_array_equal(found["diabetes"], np.nan if diabetes is None else diabetes)


def test_any_current_code_outweighs_former_ones(tree, tmp_path):
    code(tree, 5, "2149-01-01 00:00:00", "F17210", 10)
    code(tree, 6, "2150-01-01 00:00:00", "Z87891", 10)
    assert one(tree, tmp_path)["smoker"] == 1


def full(tree):
    """Two men and a woman; the second man and the woman miss what the others have."""
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
    found = {e["patient_id"].decode(): e for e in examples(made).values()}
    values = {
        "sbp_mmhg": 140,
        "total_cholesterol_mmol_l": 200 / 38.67,
        "hdl_mmol_l": 50 / 38.67,
        "region": "high",
        "male": 1,
    }
    first, second, woman = (found[str(SUBJECT + n)] for n in range(3))
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
    found = index.load(made.data_path, "train")
    first = found.risk[found.patient_offset[:-1]]
    want = np.nanquantile(first.astype(float), np.linspace(0, 1, 101))
    np.testing.assert_allclose(found.cohort_quantiles, want, rtol=1e-6)
    np.testing.assert_allclose(made.info.metadata["cohort_quantiles"], want, rtol=1e-6)
    assert found.num_patients < found.num_records


@pytest.mark.parametrize(("value", "words"), [(0.07, "a fraction"), (7, "percent")])
def test_ready_risks_from_a_table(value, words, tree, tmp_path):
    other = tree.add(SUBJECT + 1, 2)
    table = tmp_path / "metadata.csv"
    table.write_text(
        "path,gender,anchor_age,age_at_ecg,Blood Pressure,rate_meta,score2_risk\n"
        f"{tree.record_id},F,60,61.5,120/70,0.25,{value}\n"
        f"files/elsewhere,M,50,51,130/80,0.1,{value / 2}\n"
    )
    made = build(tree.write(hosp=False), tmp_path / "data", clinical_source=str(table))
    found = examples(made)
    np.testing.assert_allclose(found[tree.record_id]["risk"], 0.07, rtol=1e-6)
    assert found[tree.record_id]["completeness"] == 0.75
    assert found[tree.record_id]["age_years"] == 61.5
    assert found[tree.record_id]["male"] == 0
    assert found[tree.record_id]["sbp_mmhg"] == 120
    assert np.isnan(found[other]["risk"])
    assert found[other]["completeness"] == 0
    assert made.report.coverage["score2_risk was read as"] == words


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
    assert made.report.coverage["unreadable rows of omr.csv.gz"] == "1"
