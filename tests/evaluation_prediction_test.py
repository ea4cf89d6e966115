"""Probes predict only recordings to which they were not fitted."""

import jax
import numpy as np
import pytest
from culprits import refuses
from prepared import build

from clef_jax import mesh as mesh_lib, tasks
from clef_jax.building import catalog
from clef_jax.data import index as index_lib
from clef_jax.embedding import encoder as encoder_lib, prepared
from clef_jax.evaluation import clinical_baseline, prediction, probe

pytestmark = pytest.mark.usefixtures("quick_compiler")

MESH = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The splits of PTB-XL's and MC-MED's simulated trees, in an untrained encoder."""
    encoder, found = encoder_lib.random("tiny", MESH, seed=0), {}
    for name, lead in (("ptb_xl", "I"), ("mc_med", "II")):
        folder = tmp_path_factory.mktemp(name)
        tree = catalog.simulated(name).write(folder / "source", 60)
        made = build(name, tree.source, folder / "data")
        found[name] = {
            split: prepared.embed(
                encoder, index_lib.load(made.data_path, split), lead, folder / "cache"
            )
            for split in index_lib.splits(made.data_path)
        }
    return found


LAYERS = {"all": lambda one: one.features}
PLAIN = prediction.Protocol()


def test_the_test_split_is_predicted(embedded):
    task = tasks.find("ptb_xl_superdiagnostic")
    splits = embedded["ptb_xl"]
    predictions = prediction.predict(task, splits, LAYERS, PLAIN)
    assert not predictions.cross_validated
    facts = [fact for fact in splits["test"].metadata if fact["superdiagnostic"]]
    assert predictions.outputs == ("CD", "HYP", "MI", "NORM", "STTC")
    want = [
        [name.encode() in fact["superdiagnostic"] for name in predictions.outputs] for fact in facts
    ]
    np.testing.assert_array_equal(predictions.target, want)
    assert predictions.predicted.shape == predictions.target.shape
    assert ((predictions.predicted >= 0) & (predictions.predicted <= 1)).all()
    assert predictions.num_excluded == len(splits["test"].metadata) - len(facts)
    np.testing.assert_array_equal(predictions.age_years, [fact["age_years"] for fact in facts])


def test_without_a_test_split_every_patient_is_predicted_by_others(embedded):
    task = tasks.find("ptb_xl_age")
    only_train = {"train": embedded["ptb_xl"]["train"]}
    seen = []

    def spy(kind, train, validation=None, **kwargs):
        seen.append(set(train.patient.tolist()))
        return probe.fit(kind, train, validation, **kwargs)

    predictions = prediction.predict(task, only_train, LAYERS, prediction.Protocol(fit=spy))
    assert predictions.cross_validated
    assert len(seen) == prediction.NUM_FOLDS
    everybody = set(predictions.patient.tolist())
    held = [everybody - fitted for fitted in seen]
    assert set().union(*held) == everybody
    assert sum(map(len, held)) == len(everybody)
    assert np.isfinite(predictions.predicted).all()


def test_predictions_depend_on_features_and_seed_alone(embedded):
    task = tasks.find("mc_med_sbp")
    first, again = (prediction.predict(task, embedded["mc_med"], LAYERS, PLAIN) for _ in range(2))
    np.testing.assert_array_equal(first.predicted, again.predicted)


def test_a_feature_that_equals_the_target_is_learned(embedded):
    task = tasks.find("mc_med_sbp")

    def cheat(one):
        values = np.array([[fact["triage_sbp_mmhg"]] for fact in one.metadata], np.float32)
        return np.where(one.usable[:, None], values, np.nan)

    predictions = prediction.predict(task, embedded["mc_med"], {"cheat": cheat}, PLAIN)
    np.testing.assert_allclose(predictions.predicted, predictions.target, atol=1.0)


def test_patients_of_different_splits_are_different(embedded):
    task = tasks.find("ptb_xl_sex")
    splits = {"train": embedded["ptb_xl"]["train"], "validation": embedded["ptb_xl"]["validation"]}
    predictions = prediction.predict(task, splits, LAYERS, PLAIN)
    num = sum(one.index.num_patients for one in splits.values())
    assert len(np.unique(predictions.patient)) == num


def test_the_clinical_baseline_uses_metadata_but_not_the_target(embedded):
    one = embedded["mc_med"]["train"]
    values = clinical_baseline.features(one)
    assert values.shape == (len(one.metadata), 6)
    np.testing.assert_array_equal(np.isnan(values).any(axis=1), ~one.usable)
    row = int(np.flatnonzero(one.usable)[0])
    fact = one.metadata[row]
    np.testing.assert_allclose(values[row, 0], fact["age_years"] - 60)
    assert values[row, 3] == 1
    target = np.array([[fact["triage_sbp_mmhg"]] for fact in one.metadata])
    assert "sbp_mmhg" in clinical_baseline.leaking(one, target)
    assert clinical_baseline.leaking(one, 1 - np.array([[f["male"]] for f in one.metadata])) == (
        "male",
    )
    assert clinical_baseline.leaking(one, np.zeros((len(one.metadata), 1))) == ()
    assert clinical_baseline.features(one, ("sbp_mmhg",)).shape[1] == 4


def test_a_data_set_without_training_recordings_is_rejected(embedded):
    with refuses("ptb_xl_age", "'train'", problem="no_training_split"):
        prediction.predict(
            tasks.find("ptb_xl_age"), {"test": embedded["ptb_xl"]["test"]}, LAYERS, PLAIN
        )


def test_another_data_set_is_rejected(embedded):
    with refuses("ptb_xl_superdiagnostic", "mc_med", "'superdiagnostic'"):
        prediction.predict(tasks.find("ptb_xl_superdiagnostic"), embedded["mc_med"], LAYERS, PLAIN)


def test_a_label_holds_out_its_recordings(embedded):
    task, splits = tasks.find("ptb_xl_sex"), embedded["ptb_xl"]
    protocol = prediction.Protocol(hold_out=prediction.HoldOut.parse("strat_fold=3"))
    predictions = prediction.predict(task, splits, LAYERS, protocol)
    facts = [fact for one in splits.values() for fact in one.metadata if fact["strat_fold"] == 3]
    assert not predictions.cross_validated
    assert len(predictions.target) <= len(facts)
    assert len(predictions.target) > 0
    np.testing.assert_array_equal(np.sort(predictions.male), np.sort([f["male"] for f in facts]))
    plain = prediction.predict(task, splits, LAYERS, PLAIN)
    other = prediction.Protocol(hold_out=prediction.HoldOut.parse("no_such_label=3"))
    np.testing.assert_array_equal(
        prediction.predict(task, splits, LAYERS, other).predicted, plain.predicted
    )


def test_several_values_hold_out_their_recordings_together(embedded):
    task, splits = tasks.find("ptb_xl_sex"), embedded["ptb_xl"]

    def num_tested(text):
        protocol = prediction.Protocol(hold_out=prediction.HoldOut.parse(text))
        return len(prediction.predict(task, splits, LAYERS, protocol).target)

    together = num_tested("strat_fold=3,4")
    assert together == num_tested("strat_fold=3") + num_tested("strat_fold=4") > 0


def test_a_held_out_patient_is_not_learned_from(embedded):
    seen = []

    def spy(kind, train, validation=None, **kwargs):
        seen.append(set(train.patient.tolist()))
        return probe.fit(kind, train, validation, **kwargs)

    hold_out = prediction.HoldOut.parse("strat_fold=3")
    protocol = prediction.Protocol(fit=spy, hold_out=hold_out)
    predictions = prediction.predict(tasks.find("ptb_xl_sex"), embedded["ptb_xl"], LAYERS, protocol)
    assert seen[0].isdisjoint(predictions.patient.tolist())


@pytest.mark.parametrize("text", ["strat_fold", "strat_fold=eight", ""])
def test_a_malformed_hold_out_is_rejected(text):
    with refuses(f"--hold-out={text}"):
        prediction.HoldOut.parse(text)


def test_fewer_labels_are_fewer_recordings(embedded):
    task, splits = tasks.find("ptb_xl_sex"), embedded["ptb_xl"]
    whole = prediction.predict(task, splits, LAYERS, PLAIN)
    some = prediction.predict(task, splits, LAYERS, prediction.Protocol(label_fraction=0.5))
    assert 0.3 * whole.num_train < some.num_train < 0.7 * whole.num_train
    np.testing.assert_array_equal(some.target, whole.target)


def test_the_best_layer_is_chosen_on_validation(embedded):
    task, splits = tasks.find("mc_med_sbp"), embedded["mc_med"]

    def cheat(one):
        values = np.array([[fact["triage_sbp_mmhg"]] for fact in one.metadata], np.float32)
        return np.where(one.usable[:, None], values, np.nan)

    found = prediction.predict(task, splits, {**LAYERS, "cheat": cheat}, PLAIN)
    assert found.layer == "cheat"
    assert prediction.predict(task, splits, LAYERS, PLAIN).layer == "all"


def test_all_splits_can_be_pooled_and_cross_validated(embedded):
    task, splits = tasks.find("ptb_xl_sex"), embedded["ptb_xl"]
    predictions = prediction.predict(task, splits, LAYERS, prediction.Protocol(cross_validate=True))
    assert predictions.cross_validated
    num = sum(one.index.num_patients for one in splits.values())
    assert len(np.unique(predictions.patient)) == num
    hold_out = prediction.HoldOut.parse("strat_fold=3")
    both = prediction.Protocol(cross_validate=True, hold_out=hold_out)
    assert not prediction.predict(task, splits, LAYERS, both).cross_validated
