"""Tests every data set's builder against the contents that its simulated source expects.

A folder in datasets/ with `simulated.py` is tested here as soon as it exists.
"""

import importlib
import json
import pathlib

import numpy as np
import prepared
import pytest
import tensorflow_datasets as tfds
from culprits import refuses

from clef_jax import leads
from clef_jax.building import catalog
from clef_jax.data import index


@pytest.fixture(scope="module", params=catalog.names())
def built(request, tmp_path_factory):
    """A fixture, the builder that prepared it, its examples by record id, and its findings."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    made = catalog.simulated(name).write(folder / "source")
    dataset = f"{name}/{made.config}" if made.config else name
    dataset_builder = prepared.build(dataset, made.source, folder / "data", **made.options)
    plain = tfds.builder_from_directory(dataset_builder.data_path)
    splits = {split: list(plain.as_data_source(split)) for split in plain.info.splits}
    return made, dataset_builder, splits, prepared.findings(dataset_builder)


def by_id(splits):
    return {e["record_id"].decode(): e for examples in splits.values() for e in examples}


def test_stores_what_is_good_and_nothing_else(built):
    made, _, splits, _ = built
    ids = [e["record_id"].decode() for examples in splits.values() for e in examples]
    assert len(ids) == len(set(ids))
    assert sorted(ids) == sorted(made.stored)


def test_samples_are_those_of_the_source_in_its_units(built):
    made, dataset_builder, splits, _ = built
    for record_id, example in by_id(splits).items():
        want = made.stored[record_id]
        assert example["sample_rate_hz"] == want.sample_rate_hz
        assert tuple(n.decode() for n in example["lead_names"]) == dataset_builder.layout.leads
        names = [leads.canonical(lead) for lead in want.lead_names]
        step = 1 / example["gain_per_mv"][:, None]
        adc = example["signal"].astype(float)
        got = np.where(adc == -32768, np.nan, (adc - example["baseline"][:, None]) * step)
        for number, lead in enumerate(dataset_builder.layout.leads):
            if lead not in names:
                assert np.isnan(got[number]).all(), (record_id, lead)
                continue
            expected = want.signal_mv[names.index(lead)]
            tolerance = float(step[number, 0]) if want.tolerance_mv is None else want.tolerance_mv
            np.testing.assert_allclose(
                got[number], expected, rtol=0, atol=1.01 * tolerance, err_msg=f"{record_id} {lead}"
            )


def test_labels_are_those_of_the_source(built):
    made, _, splits, _ = built
    for record_id, example in by_id(splits).items():
        for name, want in made.stored[record_id].labels.items():
            got = example[name]
            if isinstance(want, str):
                assert got.decode() == want, (record_id, name)
            elif isinstance(want, list) and all(isinstance(w, str) for w in want):
                assert [g.decode() for g in got] == want, (record_id, name)
            else:
                np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=f"{record_id} {name}")


def test_patients_and_splits(built):
    made, _, splits, _ = built
    patients = {}
    for split, examples in splits.items():
        for example in examples:
            want = made.stored[example["record_id"].decode()]
            patient = example["patient_id"].decode()
            assert patient == want.patient_id
            assert want.split in (None, split), example["record_id"]
            patients.setdefault(patient, set()).add(split)
    assert all(len(splits) == 1 for splits in patients.values())


def test_every_planted_defect_is_reported_and_nothing_else_is_lost(built):
    made, dataset_builder, _, findings = built
    reported = {(f["record_id"], f["problem"], f["action"]) for f in findings}
    for planted in made.planted:
        assert any(
            record_id.startswith(planted.record_id)
            and (problem, action) == (planted.problem, planted.action)
            for record_id, problem, action in reported
        ), planted
    lost = [p for p in made.planted if p.action == "quarantined"]
    quarantined = [f for f in findings if f["action"] == "quarantined"]
    for finding in quarantined:
        assert any(finding["record_id"].startswith(p.record_id) for p in lost), finding
    assert dataset_builder.summary.num_quarantined == len(quarantined)


def test_findings_are_sentences_without_paths_of_the_machine(built):
    made, _, _, findings = built
    for finding in findings:
        assert finding["detail"][0].isupper() or finding["detail"][0].isdigit(), finding
        assert finding["detail"].endswith("."), finding
        assert str(made.source) not in finding["detail"]


def test_the_index_knows_labels_and_counts(built):
    _, dataset_builder, splits, _ = built
    stored = json.loads((pathlib.Path(dataset_builder.data_path) / index.METADATA_FILE).read_text())
    assert [label["name"] for label in stored["labels"]] == [
        x.name for x in dataset_builder.layout.labels
    ]
    for label in stored["labels"]:
        for split, examples in splits.items():
            counts = stored["splits"][split]["label_counts"][label["name"]]
            for name in label["classes"]:
                values = [e[label["name"]] for e in examples]
                listed = [[v] if isinstance(v, bytes) else v for v in values]
                assert counts.get(name, 0) == sum(name.encode() in names for names in listed)
            if label["kind"] in ("class", "classes"):
                assert set(counts) <= set(label["classes"])
    for split, examples in splits.items():
        split_index = index.load(dataset_builder.data_path, split)
        assert list(split_index.num_samples) == [e["signal"].shape[1] for e in examples]
        np.testing.assert_array_equal(
            split_index.sample_rate_hz, [e["sample_rate_hz"] for e in examples]
        )


@pytest.mark.parametrize("name", catalog.names())
def test_the_folder_says_what_it_is(name):
    folder = pathlib.Path(importlib.import_module(f"clef_datasets.{name}").__path__[0])
    text = (folder / "README.md").read_text()
    for heading in ("# How to obtain it", "# Labels", "# What is excluded", "# Licence"):
        assert f"\n{heading}\n" in text, heading
    assert f"--dataset={name}" in text
    assert "@" in (folder / "CITATIONS.bib").read_text()


@pytest.mark.parametrize("name", catalog.names())
def test_another_folder_is_told_what_it_should_be(name, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "README.txt").write_text("Something else.")
    with refuses(tmp_path / "source", problem="not_the_source"):
        prepared.build(name, tmp_path / "source", tmp_path / "data")
