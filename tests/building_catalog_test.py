"""Tests that data sets are found by their folder."""

import pytest
from culprits import refuses

from clef_jax.building import catalog


def test_finds_the_folders():
    assert "mimic_iv_ecg" in catalog.names()


@pytest.mark.parametrize("name", catalog.names())
def test_every_data_set_has_a_builder_with_papers(name, tmp_path):
    builder = catalog.builder(name, data_dir=tmp_path)
    assert builder.name == name
    assert builder.info.citation
    assert builder.info.description
    assert builder.LAYOUT.leads
    assert list(tmp_path.iterdir()) == []


def test_configs(tmp_path):
    first = catalog.builder("mimic_iv_ecg", data_dir=tmp_path)
    assert first.builder_config.name == "one_per_patient"
    other = catalog.builder("mimic_iv_ecg/all_records", data_dir=tmp_path)
    assert other.builder_config.name == "all_records"


@pytest.mark.parametrize(
    ("name", "culprits"),
    [
        ("mimic_ecg", ("'mimic_ecg'", "'mimic_iv_ecg'")),
        ("mimic_iv_ecg/all", ("'mimic_iv_ecg'", "'all'", "one_per_patient", "all_records")),
        ("mimic_iv_ecg/all_record", ("'all_record'", "'all_records'")),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name, culprits, tmp_path):
    with refuses(*culprits):
        catalog.builder(name, data_dir=tmp_path)
