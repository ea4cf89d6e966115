"""The hospital's tables hold the patients' data with the intended gaps."""

import numpy as np
import pytest

from clef_jax.simulation import hospital, laboratory, patient, visit
from clef_jax.simulation.coefficient import RECORD_KEEPING

NUM_PATIENTS = 1500


@pytest.fixture(scope="module")
def people():
    return [patient.sample(0, index) for index in range(NUM_PATIENTS)]


@pytest.fixture(scope="module")
def charts(people):
    return [hospital.tables(0, p, visit.sample(0, p, 2.2)) for p in people]


def assert_share(flags, expected):
    """Within four standard deviations of a binomial law."""
    flags = np.asarray(flags, float)
    spread = np.sqrt(expected * (1 - expected) / len(flags))
    assert flags.mean() == pytest.approx(expected, abs=4 * spread)


def test_ages_over_89_are_stored_as_91(people, charts):
    rows = [chart["patients"][0] for chart in charts]
    oldest = [
        row[2] for person, row in zip(people, rows, strict=True) if person.anchor_age_years > 89
    ]
    assert oldest
    assert set(oldest) == {91}
    assert all(row[2] <= 89 or row[2] == 91 for row in rows)


def test_missing_clinical_values_are_as_frequent_as_in_mimic(people, charts):
    def lacks(chart, table, column, wanted):
        return not any(row[column] in wanted for row in chart[table])

    assert_share([lacks(c, "omr", 3, {"Blood Pressure"}) for c in charts], 0.25)
    total = {laboratory.TOTAL_CHOLESTEROL}
    assert_share([lacks(c, "labevents", 4, total) for c in charts], 0.55)
    lipids = [c for c in charts if not lacks(c, "labevents", 4, total)]
    assert_share([lacks(c, "labevents", 4, {laboratory.HDL}) for c in lipids], 0.05)
    codes = {"F17210", "3051", "Z87891", "V1582"}
    coded = np.mean([not lacks(c, "diagnoses_icd", 3, codes) for c in charts])
    assert 0.1 < coded < 0.35
    # Nobody is coded as what they are not.
    for person, chart in zip(people, charts, strict=True):
        if person.smoking == "never":
            assert lacks(chart, "diagnoses_icd", 3, codes)


def test_hospital_rows_fit_their_columns_and_stays(charts):
    for chart in charts[:200]:
        for name, rows in chart.items():
            assert all(len(row) == len(hospital.COLUMNS[name].split(",")) for row in rows)
        stays = {row[1]: (row[2], row[3]) for row in chart["admissions"]}
        assert all(begin < end for begin, end in stays.values())
        assert {row[1] for row in chart["diagnoses_icd"]} == set(stays)
        for row in chart["labevents"]:
            if row[2] != "":
                assert stays[row[2]][0] <= row[6] <= stays[row[2]][1]
    stays = [row[1] for chart in charts for row in chart["admissions"]]
    assert len(set(stays)) == len(stays)
    labs = [row[0] for chart in charts for row in chart["labevents"]]
    assert labs == sorted(set(labs))


def test_pressures_are_near_the_patients_own(people, charts):
    own, measured = [], []
    for person, chart in zip(people, charts, strict=True):
        for row in chart["omr"]:
            if row[3].startswith("Blood Pressure"):
                systolic, diastolic = map(int, row[4].split("/"))
                assert systolic > diastolic >= 20
                own.append(person.sbp_mmhg)
                measured.append(systolic)
    error = np.array(measured) - np.array(own)
    assert abs(error.mean()) < 1
    assert error.std() == pytest.approx(RECORD_KEEPING.pressure_day_scatter_mmhg, rel=0.1)
