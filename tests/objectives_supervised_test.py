"""Tests of the supervised control: its loss, and a run on stored labels without some folds."""

import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses
from flax import nnx
from prepared import build_simulated

from clef_jax import objectives, train
from clef_jax.data import index as index_lib, label as label_lib, metadata, selection
from clef_jax.objectives import supervised
from clef_jax.training import arguments, page

pytestmark = pytest.mark.usefixtures("quick_compiler")


def test_the_loss_is_the_mean_over_known_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 4)).astype(np.float32)
    labels = rng.integers(0, 2, (6, 4)).astype(np.float32)
    labels[1] = labels[3, 2] = np.nan
    each = -(
        labels * np.log(1 / (1 + np.exp(-logits))) + (1 - labels) * np.log(1 / (1 + np.exp(logits)))
    )
    got = supervised.loss(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(got, np.nanmean(each), rtol=1e-5)
    assert supervised.loss(jnp.asarray(logits), jnp.full((6, 4), np.nan)) == 0
    with refuses("(6, 4)", "(6, 3)", error=ValueError):
        supervised.loss(jnp.asarray(logits), jnp.asarray(labels[:, :3]))


def test_both_views_are_examples_of_all_labels():
    config = supervised.Config(labels=("form", "rhythm"))
    objective = objectives.load_one("supervised")
    assert objective.labels(config) == ("form", "rhythm")
    sizes = objectives.Sizes(5, 4, {"form": 2, "rhythm": 3})
    params = objective.init_params(config, sizes, nnx.Rngs(0))
    rng = np.random.default_rng(0)
    views = rng.normal(size=(2, 4, 5)).astype(np.float32)
    labels = {"form": rng.integers(0, 2, (4, 2)), "rhythm": rng.integers(0, 2, (4, 3))}
    labels = {name: jnp.asarray(values, jnp.float32) for name, values in labels.items()}
    inputs = objectives.Inputs(
        *map(jnp.asarray, views),
        risk=jnp.zeros(4),
        completeness=jnp.zeros(4),
        labels=labels,
        params=params,
        state=None,
        encode=lambda _: None,
        mesh=None,
    )
    layer = params["head"]["layer_1"]
    logits = views.reshape(8, 5) @ np.asarray(layer["weight"]) + np.asarray(layer["bias"])
    wanted = np.tile(np.concatenate([labels["form"], labels["rhythm"]], axis=1), (2, 1))
    want = np.mean(np.log1p(np.exp(logits)) - wanted * logits)
    np.testing.assert_allclose(objective.terms(inputs, config).terms["loss"], want, rtol=1e-5)


@pytest.fixture(scope="module")
def prepared_ptb_xl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ptb_xl")
    build_simulated("ptb_xl/500hz", folder)
    return folder / "data"


def make_flags(data_dir, workdir, *more):
    flags = [f"--data-dir={data_dir}", f"--workdir={workdir}", "--objective=supervised"]
    flags += ["--size=tiny", "--global-batch-size=8", "--num-steps=2", "--window-seconds=2"]
    return [*flags, "--health-every-steps=0", *more]


def test_a_run_learns_scp_codes_without_the_excluded_folds(prepared_ptb_xl, tmp_path):
    flags = make_flags(prepared_ptb_xl, tmp_path, "--exclude=strat_fold=7,8")
    config = arguments.parse(flags)
    assert config.dataset == "ptb_xl"
    state = train.run(config)
    assert int(state.num_skipped) == 0
    index = index_lib.load(index_lib.find(prepared_ptb_xl, "ptb_xl"), "train")
    assert label_lib.widths(index, config) == {"scp_codes": 9}
    assert state.objective_params["head"]["layer_1"]["bias"].shape == (9,)
    view = page.View.open(config, tmp_path)
    assert view.data.indexes[0].num_records == selection.exclude(index, config.exclude).num_records


def test_excluded_patients_leave_the_index_and_the_others_stay(prepared_ptb_xl):
    index = index_lib.load(index_lib.find(prepared_ptb_xl, "ptb_xl"), "train")
    records = list(metadata.read_records(index, np.arange(index.num_records)))
    folds = np.array([record["strat_fold"] for record in records])
    held_out = np.isin(folds, (7, 8))
    assert held_out.any()
    assert not held_out.all()
    chosen = selection.exclude(index, "strat_fold=7,8")
    patients = {record["patient_id"] for record, out in zip(records, held_out, strict=True) if out}
    left = list(metadata.read_records(chosen, np.arange(chosen.num_records)))
    expected = [r["record_id"] for r in records if r["patient_id"] not in patients]
    assert [r["record_id"] for r in left] == expected
    assert chosen.num_patients == len({r["patient_id"] for r in left})
    np.testing.assert_array_equal(
        np.repeat(np.arange(chosen.num_patients), np.diff(chosen.patient_offset)), chosen.patient
    )
    np.testing.assert_array_equal(chosen.position(chosen.row), np.arange(chosen.num_records))
    assert chosen.usable_leads.shape[0] == chosen.gain_per_mv.shape[0] == chosen.num_records
    assert selection.exclude(index, None) is index


def test_texts_and_classes_select_too(prepared_ptb_xl):
    index = index_lib.load(index_lib.find(prepared_ptb_xl, "ptb_xl"), "train")
    records = list(metadata.read_records(index, np.arange(index.num_records)))
    patient = records[0]["patient_id"].decode()
    one = selection.exclude(index, f"patient_id={patient}")
    assert one.num_patients == index.num_patients - 1
    chosen = selection.exclude(index, "rhythm=AFIB")
    left = metadata.read_records(chosen, np.arange(chosen.num_records))
    assert not any(b"AFIB" in record["rhythm"] for record in left)


@pytest.mark.parametrize(
    ("text", "culprits", "problem"),
    [
        ("strat_fol=7", ("'strat_fol'", "'strat_fold'"), "unknown_field"),
        ("strat_fold", ("--exclude=strat_fold",), None),
        ("strat_fold=seven", ("strat_fold", "seven"), None),
        ("strat_fold=11", ("strat_fold=11",), "excludes_nothing"),
        ("strat_fold=1,2,3,4,5,6,7,8,9", ("all patients",), "excludes_everything"),
        ("rhythm=AFIP", ("'AFIP'", "'AFIB'"), "unknown_class"),
    ],
)
def test_an_exclusion_that_cannot_be_is_refused(prepared_ptb_xl, text, culprits, problem):
    index = index_lib.load(index_lib.find(prepared_ptb_xl, "ptb_xl"), "train")
    with refuses(*culprits, problem=problem):
        selection.exclude(index, text)


def test_labels_without_classes_are_refused(prepared_ptb_xl, tmp_path):
    flags = make_flags(prepared_ptb_xl, tmp_path, "--supervised.labels", "height_cm")
    with refuses("'height_cm'", "'supervised'", problem="wrong_label_kind"):
        train.run(arguments.parse(flags))


@pytest.mark.parametrize("labels", [(), ("form", "form")])
def test_labels_must_be_named_once(labels):
    with refuses(f"labels={labels!r}", error=ValueError):
        supervised.Config(labels=labels)
