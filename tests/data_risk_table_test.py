"""A table of risks replaces the prepared ones, and is refused by name where it is wrong."""

import numpy as np
import pytest
from culprits import assert_names, refuses

from clef_jax.config import TrainConfig, saved
from clef_jax.data import metadata, risk_table, training_data
from clef_jax.training import saved_run


def config(mixed_dir, path, dataset="mimic_iv_ecg", **settings):
    return TrainConfig(
        data_dir=str(mixed_dir), workdir="", dataset=dataset, risk_table=str(path), **settings
    )


def ids_of(index):
    records = metadata.read_records(index, np.arange(index.num_records))
    return [record["record_id"].decode() for record in records]


def prepared(mixed_dir, dataset="mimic_iv_ecg"):
    return training_data.load(
        TrainConfig(data_dir=str(mixed_dir), workdir="", dataset=dataset)
    ).indexes


def write(path, lines, header="record_id,risk"):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_risks_are_joined_by_record_id(mixed_dir, tmp_path):
    (index,) = prepared(mixed_dir)
    ids = ids_of(index)
    stated = {name: number / 7 for number, name in enumerate(ids[1:])}
    lines = [f"{name},{value}" for name, value in reversed(stated.items())]
    data = training_data.load(config(mixed_dir, write(tmp_path / "t.csv", lines)))
    (replaced,) = data.indexes
    want = np.array([np.nan, *stated.values()], np.float32)
    np.testing.assert_array_equal(replaced.risk, want)
    np.testing.assert_array_equal(replaced.completeness, np.isfinite(want))
    first = want[index.patient_offset[:-1]]
    quantiles = np.nanquantile(first, np.linspace(0, 1, 101))
    np.testing.assert_allclose(data.cohort_quantiles, quantiles, rtol=1e-6)
    np.testing.assert_array_equal(replaced.usable_leads, index.usable_leads)
    (about,) = data.describe()
    assert about["score"].startswith("table ")
    assert about["fingerprint"] == index.fingerprint


def test_completeness_is_that_of_the_table(mixed_dir, tmp_path):
    (index,) = prepared(mixed_dir)
    name, other = ids_of(index)[:2]
    lines = [f"{name};0.25;3", f"{other};;nan"]
    path = write(tmp_path / "t.csv", lines, "record_id;completeness;risk")
    (replaced,) = training_data.load(config(mixed_dir, path)).indexes
    assert replaced.completeness[:2].tolist() == [0.25, 0]
    (unstated,) = training_data.load(
        config(mixed_dir, write(tmp_path / "u.csv", [f"{name},3,"], "record_id,risk,completeness"))
    ).indexes
    assert unstated.completeness[:2].tolist() == [1, 0]
    assert replaced.risk[0] == 3
    assert np.isnan(replaced.risk[1:]).all()


def test_a_run_resumes_only_with_the_same_table(mixed_dir, tmp_path):
    (index,) = prepared(mixed_dir)
    name = ids_of(index)[0]
    one, other = (write(tmp_path / f"{x}.csv", [f"{name},0.{x}"]) for x in (1, 2))

    def facts(**settings):
        used = TrainConfig(data_dir=str(mixed_dir), workdir="", dataset="mimic_iv_ecg", **settings)
        return {"config": saved(used), "data": training_data.load(used).identity()}

    with_table, without = facts(risk_table=str(one)), facts()
    assert with_table["data"]["data set"] == without["data"]["data set"] == index.fingerprint
    saved_run.refuse_changes(with_table, with_table, tmp_path)
    moved = write(tmp_path / "moved.csv", [f"{name},0.1"])
    saved_run.refuse_changes(with_table, facts(risk_table=str(moved)), tmp_path)
    for before, now in (
        (with_table, facts(risk_table=str(other))),
        (with_table, without),
        (without, with_table),
    ):
        with refuses("table of risks", problem="changed_run"):
            saved_run.refuse_changes(before, now, tmp_path)


def test_quantiles_are_of_the_first_known_risk_of_each_patient(mixed_dir, tmp_path):
    (index,) = prepared(mixed_dir)
    ids = ids_of(index)
    first = set(index.patient_offset[:-1].tolist())
    later = [number for number in range(index.num_records) if number not in first]
    named = later or sorted(first)[1:]
    lines = [f"{ids[number]},{number}" for number in named]
    data = training_data.load(config(mixed_dir, write(tmp_path / "t.csv", lines)))
    assert np.isfinite(data.cohort_quantiles).all()
    (about,) = data.describe()
    assert about["score"].startswith("table ")
    assert about["settings"][risk_table.ROWS] == len(named)


def test_a_table_serves_several_data_sets_and_their_validation_splits(mixed_dir, tmp_path):
    both = "mimic_iv_ecg any_rate"
    other = prepared(mixed_dir, both)[1]
    path = write(tmp_path / "t.csv", [f"{ids_of(other)[0]},0.5"])
    data = training_data.load(config(mixed_dir, path, both))
    assert np.isnan(data.indexes[0].risk).all()  # not even that of age and sex
    assert np.isfinite(data.indexes[1].risk).sum() == 1
    checked = training_data.for_checks(data, 1)
    assert all(np.isnan(index.risk).all() for index in checked.indexes if index.split != "train")


@pytest.mark.parametrize(
    ("content", "problem", "culprit"),
    [
        ("record_id,score\na,1\n", "missing_column", "score"),
        ("record,risk\na,1\n", "missing_column", "record_id"),
        ("record_id,risk\na,1\na,2\n", "double_recording", "line 3"),
        ("record_id,risk\na,high\n", "wrong_number", "line 2"),
        ("record_id,risk\na,inf\n", "wrong_number", "line 2"),
        ("record_id,risk\na,1e39\n", "wrong_number", "line 2"),
        ("record_id;risk\na;0,5\n", "wrong_number", "line 2"),
        ("record_id,risk,completeness\na,1,1.5\n", "wrong_number", "completeness"),
        ("record_id,risk\nnobody,1\n", "risk_of_no_recording", "mimic_iv_ecg"),
        ("", "empty_labels", "empty"),
    ],
)
def test_wrong_tables_are_refused(mixed_dir, tmp_path, content, problem, culprit):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with refuses(culprit, problem=problem):
        training_data.load(config(mixed_dir, path))


@pytest.mark.parametrize(
    ("name", "problem"),
    [("absent.csv", "missing_file"), ("", "is_a_folder"), ("x" * 600, "unreadable_file")],
)
def test_a_path_without_a_table_is_named_with_its_option(tmp_path, name, problem):
    with refuses("--risk-table", problem=problem):
        risk_table.read(tmp_path / name)


def test_an_empty_name_is_refused():
    with refuses("--risk-table", problem="missing_file"):
        risk_table.read("")


def test_notes_about_the_file_are_kept(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("record_id,risk,Größe\na,1,2\n".encode("cp1252"))
    (note,) = risk_table.read(path).notes
    assert_names(note, "Windows-1252")
