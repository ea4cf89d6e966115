"""What could identify a patient is found in texts and metadata, and ordinary metadata pass."""

import pytest

from clef_jax.hub import privacy

METADATA = {
    "objective": "clef",
    "dataset": "mimic_iv_ecg/all_records",
    "leads": "random",
    "window_start": None,
    "global_batch_size": 512,
    "seed": 10000032,
    "num_steps": 1_250_000,
    "weights": "moving average, decay 0.999",
    "origin": "PKUDigitalHealth/ECGFounder (arXiv 2410.04133), MIT",
    "loaded_from": "hf:org/name@" + "0123456789" * 4,
    "learning_rates": {"encoder": 1e-4, "head": 1e-3},
}


def test_metadata_of_a_training_pass():
    assert not list(privacy.in_metadata(METADATA, "run"))


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("source", "/gpfs/group/mimic/files"),
        ("source", "~/mimic"),
        ("source", "C:\\data\\ecg"),
        ("note", "by j.doe@hospital.org"),
        ("note", "recorded on 2180-05-06, seen 1999-12-31"),
        ("note", "without p10000032"),
        ("data_dir", "data"),
        ("subject_id", 7),
        ("subject", 7),
        ("patients", ["a", "b"]),
        ("left_out", {"10000032": 1}),
        ("predictions", [0.5] * 33),
    ],
)
def test_what_could_identify_somebody_is_named(entry, value):
    (problem, *_) = privacy.in_metadata({**METADATA, entry: value}, "run")
    assert f"run.{entry}" in problem


@pytest.mark.parametrize("name", ["AF", "Normal", "ICD10 I48.0", "164889003", "class_12", "0"])
def test_names_of_diagnoses_pass(name):
    assert privacy.in_text(name) is None


@pytest.mark.parametrize("name", ["10000032", "s40689238", "1999-12-31", "a@b.org"])
def test_names_of_people_do_not_pass(name):
    assert name in privacy.in_text(name)


def test_a_card_may_state_contact_publications_and_numbers():
    assert not privacy.in_card(
        "30,690,000 weights, 95 % (~3.5 GFLOP). arXiv:2512.02180, doi:10.5281/zenodo.14881564, "
        "https://zenodo.org/records/14881564, me@lab.org, 2026-11-29. fingerprint `b6b26de2eae32`"
    )
    for text in ("see /home/ann/ecg/1.dat", "trained with subject 10000032", "in C:\\ecg"):
        assert privacy.in_card(f"A model, {text}.")
