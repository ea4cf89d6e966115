"""Every task reads its targets from its simulated data set, and names what it lacks."""

import dataclasses

import numpy as np
import pytest
from culprits import refuses
from prepared import build_simulated

from clef_jax import tasks
from clef_jax.building import catalog
from clef_jax.data import index as index_lib, metadata as metadata_lib, raw
from clef_jax.tasks import Task

TASKS = tasks.load()
METADATA = {
    "dataset": "toy/1.0.0",
    "labels": [
        {"name": "beat", "kind": "class", "classes": ["n", "v"]},
        {"name": "codes", "kind": "classes", "classes": ["A", "B", "C"]},
        {"name": "ef", "kind": "number", "classes": []},
    ],
}


@pytest.fixture(scope="module")
def prepared_data(tmp_path_factory):
    """Metadata of the data set and its examples by split; each data set is prepared once."""
    made = {}

    def get(dataset):
        if dataset not in made:
            one = build_simulated(dataset, tmp_path_factory.mktemp("tasks"))
            metadata = index_lib.read_metadata(index_lib.load(one.data_path, "train").version_dir)
            made[dataset] = (
                metadata,
                {
                    split: facts(index_lib.load(one.data_path, split), metadata)
                    for split in one.info.splits
                },
            )
        return made[dataset]

    return get


def facts(index, metadata):
    records = raw.Reader(index).records(index.row)
    return [metadata_lib.read(record, metadata["labels"]) for record in records]


def test_the_paper_has_eighteen():
    assert sum(task.in_paper for task in TASKS.values()) == 18
    assert all(task.released for task in TASKS.values() if task.in_paper)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_description(name):
    task = TASKS[name]
    assert task.name == name
    assert task.description.endswith(".")
    assert all(caveat.endswith(".") for caveat in task.caveats)
    assert task.dataset.partition("/")[0] in catalog.names()
    builder = catalog.builder_class(task.dataset.partition("/")[0])
    assert task.lead in builder.LAYOUT.leads


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_targets(name, prepared_data):
    task = TASKS[name]
    metadata, splits = prepared_data(task.dataset)
    outputs = tasks.outputs_of(task, metadata)
    assert len(set(outputs)) == len(outputs)
    everyone = [one for examples in splits.values() for one in examples]
    values = tasks.targets(task, metadata, everyone)
    assert values.shape == (len(everyone), len(outputs))
    assert values.dtype == np.float32
    known = values[~np.isnan(values).any(axis=1)]
    assert len(known) > 5
    assert len(np.unique(known, axis=0)) > 1
    if task.kind == "multiclass":
        assert (known.sum(axis=1) == 1).all()
    if task.is_classification:
        assert set(np.unique(known)) <= {0.0, 1.0}
    assert len(tasks.absent_classes(task, metadata, known)) < 2 * len(outputs)


def test_labels_become_targets():
    several = Task(dataset="toy", kind="multilabel", label="codes", description="D.")
    examples = [{"codes": [b"A", b"C"]}, {"codes": []}]
    want = [[1, 0, 1], [0, 0, 0]]
    np.testing.assert_array_equal(tasks.targets(several, METADATA, examples), want)
    strict = dataclasses.replace(several, leave_out_empty=True)
    found = tasks.targets(strict, METADATA, examples)
    assert np.isnan(found[1]).all()
    one = Task(dataset="toy", kind="multiclass", label="beat", description="D.")
    found = tasks.targets(one, METADATA, [{"beat": b"v"}, {"beat": b""}, {"beat": b"n"}])
    np.testing.assert_array_equal(found[[0, 2]], [[0, 1], [1, 0]])
    assert np.isnan(found[1]).all()
    number = Task(dataset="toy", kind="regression", label="ef", unit="%", description="D.")
    found = tasks.targets(number, METADATA, [{"ef": np.float32(55)}, {"ef": np.float32(np.nan)}])
    np.testing.assert_array_equal(found, [[55], [np.nan]])


def test_examples_that_a_task_does_not_keep_are_excluded():
    task = Task(
        dataset="toy", kind="regression", label="ef", keep=lambda e: e["ok"], description="D."
    )
    examples = [{"ef": np.float32(5), "ok": ok} for ok in (True, False)]
    assert np.isnan(tasks.targets(task, METADATA, examples)).ravel().tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "example", "want"),
    [
        ("ptb_xl_age", {"age_years": np.float32(90)}, [np.nan]),
        ("ptb_xl_age", {"age_years": np.float32(57)}, [57]),
        ("ptb_xl_sex", {"male": np.float32(np.nan)}, [np.nan]),
        ("cinc2017_af", {"rhythm": b"A"}, [1]),
        ("cinc2017_af", {"rhythm": b"O"}, [0]),
        ("cinc2017_af", {"rhythm": b"~"}, [np.nan]),
    ],
)
def test_rules_of_single_tasks(name, example, want):
    metadata = {"dataset": "d", "labels": []}
    np.testing.assert_array_equal(tasks.targets(TASKS[name], metadata, [example]), [want])


def test_evaluation_excludes_patients_of_pretraining():
    task = TASKS["lvef"]
    assert task.keep is not None
    for split, kept in (("train", False), ("validation", True), ("none", True)):
        assert bool(task.keep({"pretraining_split": split.encode()})) == kept


@pytest.mark.parametrize(
    ("changes", "problem", "culprits"),
    [
        ({"kind": "binry"}, None, ("'binry'", "'binary'")),
        ({"label": None}, "target_or_label", ()),
        ({"target": lambda e: e}, "target_or_label", ()),
        ({"lead": "avr"}, None, ("'avr'", "'aVR'")),
        ({"unit": "mV"}, "unexpected_unit", ()),
    ],
)
def test_invalid_tasks_are_rejected(changes, problem, culprits):
    good = {"dataset": "toy", "kind": "multilabel", "label": "codes", "description": "D."}
    with refuses(*culprits, problem=problem):
        Task(**(good | changes))


def test_labels_and_classes_that_a_data_set_lacks_are_named():
    task = Task(dataset="toy", kind="multilabel", label="code", description="D.", name="mine")
    with refuses("mine", "'code'", "'codes'"):
        tasks.outputs_of(task, METADATA)
    with refuses("mine", "'beat'", "'class'"):
        tasks.outputs_of(dataclasses.replace(task, label="beat"), METADATA)


def test_unknown_names_are_refused_with_the_nearest():
    with refuses("'ptb_xl_formm'", "'ptb_xl_form'"):
        tasks.find("ptb_xl_formm")


def test_a_new_file_is_a_new_task(tmp_path, monkeypatch):
    text = (
        'from clef_jax.tasks import Task\nTASK = Task(dataset="d", kind="regression", label="ef")\n'
    )
    (tmp_path / "my_task.py").write_text(text)
    (tmp_path / "_shared.py").write_text("")
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    assert tasks.load()["my_task"].dataset == "d"
    assert set(tasks.load()) == {*TASKS, "my_task"}
    (tmp_path / "empty_task.py").write_text("")
    with refuses("clef_jax.tasks.empty_task", "`TASK`", "clef_jax.tasks.Task"):
        tasks.load()
