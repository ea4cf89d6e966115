"""A table of risks replaces the prepared ones, and is refused by name where it is wrong."""

import numpy as np
import pytest
from culprits import refuses

from clef_jax.config import TrainConfig
from clef_jax.data import metadata, risk_table, training_data


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
    assert replaced.risk[0] == 3
    assert np.isnan(replaced.risk[1:]).all()


def test_a_run_resumes_only_with_the_same_table(mixed_dir, tmp_path):
    (index,) = prepared(mixed_dir)
    name = ids_of(index)[0]
    one, other = (write(tmp_path / f"{x}.csv", [f"{name},0.{x}"]) for x in (1, 2))
    identities = [training_data.load(config(mixed_dir, path)).identity() for path in (one, other)]
    assert identities[0]["data set"] == identities[1]["data set"] == index.fingerprint
    assert identities[0]["table of risks"] != identities[1]["table of risks"]


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


def test_a_missing_table_is_named_with_its_option(tmp_path):
    with refuses("--risk-table", problem="missing_file"):
        risk_table.read(tmp_path / "absent.csv")
