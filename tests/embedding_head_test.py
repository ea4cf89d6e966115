"""A head in a model folder is read back unchanged; one that does not fit is rejected."""

import json

import jax
import numpy as np
import pytest
from culprits import refuses

from clef_jax import mesh as mesh_lib
from clef_jax.answers import answer as answer_lib
from clef_jax.convert import safetensors_file
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder, head as head_lib
from clef_jax.embedding.head import Calibration, Head

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture
def folder(tmp_path):
    return model_folder.save(encoder_lib.random("tiny", ONE, seed=3), tmp_path / "model")


def make(**changes):
    rng = np.random.default_rng(0)
    values = {
        "weight": rng.normal(size=(2, 16)).astype(np.float32),
        "bias": rng.normal(size=2).astype(np.float32),
        "names": ("systolic", "diastolic"),
        "layer": "stage_2",
        "kind": "regression",
        "centre": rng.normal(size=2),
        "scale": rng.uniform(1, 2, size=2),
    }
    return Head(**values | changes)


def edit(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["head"] |= changes
    path.write_text(json.dumps(config))


def test_a_head_is_read_back_exactly(folder):
    head = make()
    head_lib.save(folder, head)
    again = head_lib.load(folder)
    assert (again.names, again.layer, again.kind) == (head.names, head.layer, head.kind)
    for name in ("weight", "bias", "centre", "scale"):
        np.testing.assert_array_equal(getattr(again, name), getattr(head, name))
        assert getattr(again, name).dtype == getattr(head, name).dtype


def make_multilabel(**changes):
    values = {
        "names": ("AF", "block"),
        "kind": "multilabel",
        "calibration": Calibration("platt", np.array([0.9, 1.1]), np.array([-0.2, 0.1])),
        "threshold": np.array([0.3, 0.4]),
        "prevalence": np.array([0.1, 0.02]),
        "fitted": {"recordings": 120, "patients": 60, "positives": {"AF": 12, "block": 2}},
    }
    return make(**values | changes)


KNOTS = np.array([[-1.0, 0.5, 2.0], [-2.0, 0.0, 0.0]])
ISOTONIC = Calibration(
    "isotonic", knot_logits=KNOTS, knot_probabilities=np.array([[0.1, 0.2, 0.9]] * 2)
)


@pytest.mark.parametrize(
    "head",
    [
        make_multilabel(),
        make_multilabel(calibration=ISOTONIC, threshold=None, prevalence=None, fitted=None),
        make_multilabel(weight=np.ones((2, 16 + 38)), features=("embedding", "classical")),
        make(half_width=np.array([12.0, 7.5]), coverage=0.9),
    ],
)
def test_what_was_fitted_beside_the_weights_is_read_back(folder, head):
    head_lib.save(folder, head)
    again = head_lib.load(folder)
    assert head_lib.entry(again) == head_lib.entry(head)
    assert (again.coverage, again.features, again.fitted) == (
        head.coverage,
        head.features,
        head.fitted,
    )
    for name in ("threshold", "prevalence", "half_width"):
        np.testing.assert_array_equal(getattr(again, name), getattr(head, name))
    assert (again.calibration is None) == (head.calibration is None)
    if head.calibration is not None:
        assert again.calibration.kind == head.calibration.kind
        own = head.calibration.arrays()
        assert set(again.calibration.arrays()) == set(own)
        for name, array in again.calibration.arrays().items():
            np.testing.assert_array_equal(array, own[name])


def test_a_head_without_facts_is_stored_as_before(folder):
    head = make()
    assert head_lib.entry(head) == {
        "names": ["systolic", "diastolic"],
        "layer": "stage_2",
        "kind": "regression",
    }
    head_lib.save(folder, head)
    stored = safetensors_file.read_safetensors(folder / "head.safetensors")
    assert set(stored) == {"weight", "bias", "centre", "scale"}


@pytest.mark.parametrize(
    "head",
    [
        make_multilabel(threshold=np.ones(3)),
        make_multilabel(threshold=np.array([0.5, 1.5])),
        make_multilabel(prevalence=np.array([0.5, -0.1])),
        make_multilabel(calibration=Calibration("platt", np.ones(2))),
        make_multilabel(calibration=Calibration("platt", np.ones(2), np.ones(3))),
        make_multilabel(calibration=Calibration("beta", np.ones(2), np.ones(2))),
        make_multilabel(calibration=ISOTONIC._replace(knot_probabilities=np.ones((2, 2)))),
        make_multilabel(calibration=ISOTONIC._replace(knot_logits=-KNOTS)),
        make_multilabel(calibration=ISOTONIC, kind="multiclass"),
        make(calibration=Calibration("platt", np.ones(2), np.zeros(2))),
        make(half_width=np.ones(2)),
        make(coverage=0.9),
        make(half_width=np.ones(2), coverage=1.2),
        make(features=("classical",)),
        make(features=("embedding", "classical")),  # and has no weights for the classical ones
        make(query=np.ones((4, 15))),
        make(query=np.ones((0, 16))),
        make(query=np.ones(16)),
        make(query=np.float64(1)),
        make(query=np.ones((4, 16)), features=("embedding", "classical")),
    ],
)
def test_facts_that_do_not_fit_are_not_written(folder, head):
    with refuses(folder / "head.safetensors", problem="misshapen_head"):
        head_lib.save(folder, head)
    assert head_lib.load(folder) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration": 3},
        {"coverage": "0.9"},
        {"coverage": True},
        {"features": "embedding"},
        {"fitted": [1]},
    ],
)
def test_facts_of_another_type_are_refused(folder, changes):
    head_lib.save(folder, make_multilabel())
    edit(folder, **changes)
    with refuses(folder / "config.json", problem="wrong_head_entry"):
        head_lib.load(folder)


def test_arrays_of_a_calibration_that_nothing_announces_are_refused(folder):
    head_lib.save(folder, make_multilabel())
    edit(folder, calibration=None)
    with refuses(folder / "head.safetensors", problem="wrong_head_arrays"):
        head_lib.load(folder)


def test_a_head_may_read_an_earlier_layer(folder):
    head_lib.save(folder, make(weight=np.ones((2, 8)), layer="stage_1"))
    assert head_lib.load(folder).layer == "stage_1"


def test_a_model_with_a_head_is_the_same_model(folder):
    before = model_folder.load(folder, ONE)
    head_lib.save(folder, make())
    assert model_folder.load(folder, ONE).fingerprint == before.fingerprint


def test_queries_are_kept_and_mark_a_head_that_is_not_linear(folder):
    query = np.random.default_rng(0).normal(size=(4, 16))
    head_lib.save(folder, make(query=query))
    again = head_lib.load(folder)
    np.testing.assert_array_equal(again.query, query)
    assert not again.is_linear
    assert make().is_linear
    assert answer_lib.fingerprint(again) != answer_lib.fingerprint(make())


def test_a_later_head_replaces_the_earlier(folder):
    head_lib.save(folder, make())
    weight, bias = np.ones((3, 16)), np.zeros(3)
    head_lib.save(folder, Head.of_classes(weight, bias, layer="stage_2"))
    again = head_lib.load(folder)
    assert again.names == ("class_0", "class_1", "class_2")
    np.testing.assert_array_equal(again.centre, np.zeros(3))
    np.testing.assert_array_equal(again.scale, np.ones(3))


def test_a_model_without_a_head_has_none(folder):
    assert head_lib.load(folder) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"names": ("one",)}, "misshapen_head"),
        ({"names": ("same", "same")}, "misshapen_head"),
        ({"layer": "stage_1"}, "misshapen_head"),
        ({"bias": np.zeros(3)}, "misshapen_head"),
        ({"scale": np.ones((2, 1))}, "misshapen_head"),
        ({"layer": "stage_9"}, "unknown_head_layer"),
        ({"kind": "ranking"}, "unknown_head_kind"),
    ],
)
def test_a_head_that_does_not_fit_is_not_written(folder, changes, problem):
    before = (folder / "config.json").read_text()
    with refuses(folder / "head.safetensors", problem=problem):
        head_lib.save(folder, make(**changes))
    assert (folder / "config.json").read_text() == before
    assert not (folder / "head.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "file", "problem"),
    [
        ({"names": ["one"]}, "head.safetensors", "misshapen_head"),
        ({"layer": "stage_1"}, "head.safetensors", "misshapen_head"),
        ({"kind": "ranking"}, "head.safetensors", "unknown_head_kind"),
        ({"names": "one"}, "config.json", "wrong_head_entry"),
        ({"names": [1, 2]}, "config.json", "wrong_head_entry"),
        ({"layer": None}, "config.json", "wrong_head_entry"),
    ],
)
def test_a_description_that_disagrees_is_refused(folder, changes, file, problem):
    head_lib.save(folder, make())
    edit(folder, **changes)
    with refuses(folder / file, problem=problem):
        head_lib.load(folder)


def test_a_damaged_file_is_named(folder):
    head_lib.save(folder, make())
    path = folder / "head.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with refuses(path, problem="damaged"):
        head_lib.load(folder)
    path.unlink()
    with refuses(path, problem="missing_head"):
        head_lib.load(folder)


def test_other_arrays_are_refused(folder):
    head_lib.save(folder, make())
    path = folder / "head.safetensors"
    safetensors_file.write_safetensors(path, {"kernel": np.ones((2, 16))}, {})
    with refuses(path, "kernel", problem="wrong_head_arrays"):
        head_lib.load(folder)


def write_old(folder, **arrays):
    safetensors_file.write_safetensors(folder / head_lib.OLD_CLASSIFIER, arrays, {})


def test_a_classifier_of_an_old_folder_is_read(folder):
    weight, bias = np.ones((3, 16), np.float32), np.zeros(3, np.float32)
    write_old(folder, **{"dense.weight": weight, "dense.bias": bias})
    head = head_lib.load(folder)
    assert (head.kind, head.layer, len(head.names)) == ("multilabel", "stage_2", 3)
    np.testing.assert_array_equal(head.weight, weight)
    head_lib.save(folder, make())
    assert head_lib.load(folder).names == make().names
    assert not (folder / head_lib.OLD_CLASSIFIER).exists()


def test_an_old_classifier_that_does_not_fit_is_named(folder):
    write_old(folder, **{"dense.weight": np.ones((3, 4)), "dense.bias": np.zeros(3)})
    with refuses(folder / head_lib.OLD_CLASSIFIER, problem="misshapen_head"):
        head_lib.load(folder)


def test_other_old_files_leave_a_model_without_a_head(folder):
    write_old(folder, hidden=np.ones(3))
    np.savez(folder / "head.npz", weight=np.ones((16, 2)))
    assert head_lib.load(folder) is None
    assert model_folder.load(folder, ONE).size == "tiny"
