"""Data sets are found by their folder."""

import pytest

from clef_jax.building import catalog
from clef_jax.errors import UserError


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
    ("name", "words"),
    [
        ("mimic_ecg", "There is no data set 'mimic_ecg'.*Did you mean mimic_iv_ecg"),
        ("mimic_iv_ecg/all", "no config 'all'.*one_per_patient, all_records"),
        ("mimic_iv_ecg/all_record", "Did you mean mimic_iv_ecg/all_records"),
    ],
)
def test_unknown_names_are_told_with_the_nearest(name, words, tmp_path):
    with pytest.raises(UserError, match=words):
        catalog.builder(name, data_dir=tmp_path)
